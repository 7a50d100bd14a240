//! Rust types to objects and back.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    thread,
    time::Duration,
};

use proptest::{collection, option, prelude::*};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    super::{FromObjectError, MAX_DEPTH, Object, ToObjectError, from_object, to_object},
    strategy::{any_float, any_object, any_text},
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Name(String);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pair(i8, Option<bool>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    One(u64),
    Maybe(Option<Name>),
    Two(char, Vec<u16>),
    Named { x: f32, y: Option<Box<Shape>> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Inside {
    Empty,
    Filled { text: String, count: i64 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Either {
    Number(i64),
    Text(String),
    Many(Vec<Either>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    flag: bool,
    signed: (i8, i16, i32, i64, i128),
    unsigned: (u8, u16, u32, u64),
    wide: u128,
    single: f32,
    letter: char,
    text: String,
    unit: (),
    nothing: Unit,
    name: Name,
    pair: Pair,
    shapes: Vec<Shape>,
    shape_or_not: Option<Shape>,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
    numbers: Vec<u8>,
    array: [u16; 3],
    by_number: HashMap<i32, String>,
    by_name: BTreeMap<Name, Option<i64>>,
    by_pair: BTreeMap<(bool, u8), Vec<String>>,
    set: BTreeSet<String>,
    inside: Inside,
    either: Either,
    address: IpAddr,
    duration: Duration,
    object: Object,
    objects: BTreeMap<Object, Object>,
}

fn any_name() -> impl Strategy<Value = Name> {
    any_text().prop_map(Name)
}

fn any_shape() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        Just(Shape::Nothing),
        any::<u64>().prop_map(Shape::One),
        option::of(any_name()).prop_map(Shape::Maybe),
        (any::<char>(), collection::vec(any::<u16>(), 0..3)).prop_map(|(c, items)| Shape::Two(c, items)),
    ];
    leaf.prop_recursive(4, 8, 1, |inner| {
        (any::<f32>(), option::of(inner.prop_map(Box::new))).prop_map(|(x, y)| Shape::Named { x, y })
    })
}

fn any_either() -> impl Strategy<Value = Either> {
    let leaf = prop_oneof![any::<i64>().prop_map(Either::Number), any_text().prop_map(Either::Text)];
    leaf.prop_recursive(3, 8, 3, |inner| collection::vec(inner, 0..3).prop_map(Either::Many))
}

fn any_inside() -> impl Strategy<Value = Inside> {
    prop_oneof![
        Just(Inside::Empty),
        (any_text(), any::<i64>()).prop_map(|(text, count)| Inside::Filled { text, count }),
    ]
}

prop_compose! {
    fn any_everything()(
        (flag, signed, unsigned, wide) in (any::<bool>(), any::<(i8, i16, i32, i64, i128)>(), any::<(u8, u16, u32, u64)>(), 0..=i128::MAX as u128),
        (single, letter, text, name) in (any::<f32>(), any::<char>(), any_text(), any_name()),
        (pair, shapes, shape_or_not) in (any::<(i8, Option<bool>)>(), collection::vec(any_shape(), 0..3), option::of(any_shape())),
        (bytes, numbers, array) in any::<(Vec<u8>, Vec<u8>, [u16; 3])>(),
        by_number in collection::hash_map(any::<i32>(), any_text(), 0..3),
        by_name in collection::btree_map(any_name(), any::<Option<i64>>(), 0..3),
        by_pair in collection::btree_map(any::<(bool, u8)>(), collection::vec(any_text(), 0..2), 0..3),
        set in collection::btree_set(any_text(), 0..3),
        (inside, either, address, duration) in (any_inside(), any_either(), any::<IpAddr>(), any::<Duration>()),
        object in any_object(),
        objects in collection::btree_map(any_object(), any_object(), 0..3),
    ) -> Everything {
        Everything {
            flag, signed, unsigned, wide, single, letter, text, unit: (), nothing: Unit, name, pair: Pair(pair.0, pair.1),
            shapes, shape_or_not, bytes, numbers, array, by_number, by_name, by_pair, set, inside, either, address,
            duration, object, objects,
        }
    }
}

proptest! {
    #[test]
    fn a_value_comes_back_from_its_object_in_every_form(value in any_everything()) {
        let object = to_object(&value).unwrap();
        prop_assert_eq!(&from_object::<Everything>(&object).unwrap(), &value);
        let forms = [
            Object::from_bytes(&object.to_bytes().unwrap()).unwrap(),
            Object::parse_sexp(&object.to_sexp()).unwrap(),
            Object::from_json(&object.to_json().unwrap()).unwrap(),
        ];
        for form in forms {
            prop_assert_eq!(&from_object::<Everything>(&form).unwrap(), &value);
        }
    }

    #[test]
    fn an_object_is_its_own_object(object in any_object()) {
        prop_assert_eq!(&to_object(&object).unwrap(), &object);
        prop_assert_eq!(&from_object::<Object>(&object).unwrap(), &object);
    }

    #[test]
    fn an_object_goes_through_other_formats(object in any_object()) {
        let bytes = bincode::serde::encode_to_vec(&object, bincode::config::standard()).unwrap();
        let (read, used): (Object, usize) =
            bincode::serde::decode_from_slice(&bytes, bincode::config::standard()).unwrap();
        prop_assert_eq!((&read, used), (&object, bytes.len()));
        // serde_json reads some floats inexactly, so that text is compared and not the object.
        let json = serde_json::to_value(&object).unwrap();
        let read: Object = serde_json::from_value(json.clone()).unwrap();
        prop_assert_eq!(&read, &object);
        prop_assert_eq!(serde_json::to_value(Object::from_json(&json.to_string()).unwrap()).unwrap(), json);
    }

    #[test]
    fn a_type_reads_any_object_or_refuses_it(object in any_object()) {
        drop(from_object::<Everything>(&object));
        drop(from_object::<Shape>(&object));
        drop(from_object::<Either>(&object));
        drop(from_object::<Inside>(&object));
        drop(from_object::<HashMap<String, (u8, f64)>>(&object));
        drop(from_object::<serde_json::Value>(&object));
    }

    #[test]
    fn floats_keep_every_bit(float in any_float()) {
        let back: f64 = from_object(&to_object(&float).unwrap()).unwrap();
        prop_assert!(back.to_bits() == float.to_bits() || back.is_nan() && float.is_nan());
    }
}

fn sexp<T: Serialize>(value: T) -> String {
    to_object(&value).unwrap().to_sexp()
}

fn read<T: DeserializeOwned>(text: &str) -> T {
    from_object(&Object::parse_sexp(text).unwrap()).unwrap_or_else(|failed| panic!("{text}: {failed}"))
}

#[test]
fn the_objects_of_types_are_those_of_the_documentation() {
    assert_eq!(sexp(()), "()");
    assert_eq!(sexp(Unit), "()");
    assert_eq!(sexp(None::<u8>), "()");
    assert_eq!(sexp(Some(1)), "1");
    assert_eq!(sexp(Name("n".into())), "\"n\"");
    assert_eq!(sexp('é'), "\"é\"");
    assert_eq!(sexp(1.0_f32), "1.0");
    assert_eq!(sexp([1, 2]), "#(1 2)");
    assert_eq!(sexp((1, "a")), "#(1 \"a\")");
    assert_eq!(sexp(Pair(1, None)), "#(1 ())");
    assert_eq!(sexp(serde_bytes::Bytes::new(&[1, 2])), "#u8(1 2)");
    assert_eq!(sexp(BTreeMap::from([(2, 'b'), (1, 'a')])), "#map((1 . \"a\") (2 . \"b\"))");
    assert_eq!(sexp(Shape::Nothing), "\"Nothing\"");
    assert_eq!(sexp(Shape::One(1)), "#map((\"One\" . 1))");
    assert_eq!(sexp(Shape::Two('a', vec![1])), "#map((\"Two\" . #(\"a\" #(1))))");
    assert_eq!(
        sexp(Shape::Named { x: 0.5, y: None }),
        "#map((\"Named\" . #map((\"x\" . 0.5) (\"y\" . ()))))"
    );
    assert_eq!(sexp("::1".parse::<IpAddr>().unwrap()), "\"::1\"");
    assert_eq!(sexp((Object::symbol("a"), Object::cons(1.into(), 2.into()))), "#(a (1 . 2))");
}

#[test]
fn what_people_write_is_read_into_types() {
    assert_eq!(
        read::<BTreeMap<String, u8>>("((a . 1) (b . 2) (c . 3))"),
        BTreeMap::from([("a".into(), 1), ("b".into(), 2), ("c".into(), 3)])
    );
    assert_eq!(read::<Vec<(String, u8)>>("((a . 1) (b . 2))"), [("a".into(), 1), ("b".into(), 2)]);
    assert_eq!(
        read::<BTreeMap<String, Vec<u8>>>("((a 1 2) (b))"),
        BTreeMap::from([("a".into(), vec![1, 2]), ("b".into(), vec![])])
    );
    assert_eq!(read::<BTreeMap<String, (u8, u8)>>("((a 1 . 2))"), BTreeMap::from([("a".into(), (1, 2))]));
    assert_eq!(read::<BTreeMap<String, Object>>("((a b . c))")["a"].to_sexp(), "(b . c)");
    assert_eq!(read::<BTreeMap<String, u8>>("()"), BTreeMap::new());
    assert_eq!(
        read::<Inside>("#map((kind . Filled) (count . 1) (text . \"t\"))"),
        Inside::Filled { text: "t".into(), count: 1 }
    );
    assert_eq!(read::<Tree>("((children ((children))))"), tree(2));
    assert_eq!(read::<Vec<u8>>("(1 2)"), [1, 2]);
    assert_eq!(read::<Vec<u8>>("()"), [0; 0]);
    assert_eq!(read::<Vec<u8>>("#u8(1 2)"), [1, 2]);
    assert_eq!(read::<serde_bytes::ByteBuf>("#(1 2)").into_vec(), [1, 2]);
    assert_eq!(read::<(u8, u8)>("(1 . 2)"), (1, 2));
    assert_eq!(read::<(u8, u8)>("(1 2)"), (1, 2));
    assert_eq!(read::<f64>("1"), 1.0);
    assert_eq!(read::<Shape>("Nothing"), Shape::Nothing);
    assert_eq!(read::<Shape>("#map((Nothing . ()))"), Shape::Nothing);
    assert_eq!(read::<Shape>("((Two a #(1)))"), Shape::Two('a', vec![1]));
    assert_eq!(read::<Shape>("((One . 7))"), Shape::One(7));
    assert_eq!(read::<Shape>("((Named (x . 1)))"), Shape::Named { x: 1.0, y: None });
    assert_eq!(read::<Option<u8>>("()"), None);
}

#[test]
fn text_is_borrowed() {
    let object = Object::parse_sexp("(one \"two\")").unwrap();
    let texts: Vec<&str> = from_object(&object).unwrap();
    assert_eq!(texts, ["one", "two"]);
}

#[test]
fn what_does_not_fit_is_refused() {
    fn failure<T: DeserializeOwned + std::fmt::Debug>(text: &str) -> String {
        from_object::<T>(&Object::parse_sexp(text).unwrap()).unwrap_err().to_string()
    }
    assert_eq!(failure::<u8>("256"), "invalid value: integer `256`, expected u8");
    assert_eq!(failure::<u8>("\"1\""), "invalid type: string \"1\", expected u8");
    assert_eq!(failure::<u64>("1.0"), "invalid type: floating point `1.0`, expected u64");
    assert_eq!(
        failure::<i64>("18446744073709551616"),
        "invalid type: integer `18446744073709551616` as i128, expected i64"
    );
    assert_eq!(failure::<bool>("()"), "invalid type: unit value, expected a boolean");
    assert_eq!(failure::<Vec<u8>>("(1 . 2)"), "a dotted list, for which the type has no room");
    assert_eq!(failure::<(u8, u8)>("(1 2 . 3)"), "a dotted list, for which the type has no room");
    assert_eq!(failure::<(u8, u8)>("(1 2 3)"), "invalid length 3, expected only 2");
    assert_eq!(failure::<(u8, u8)>("(1)"), "invalid length 1, expected a tuple of size 2");
    assert!(failure::<Shape>("Other").starts_with("unknown variant `Other`"));
    assert!(failure::<Shape>("One").starts_with("invalid type: unit variant"));
    assert!(
        failure::<Shape>("#map((One . 1) (Two . 2))")
            .starts_with("invalid type: map, expected the name of a variant")
    );
    assert!(failure::<Shape>("#map((Nothing . 1))").starts_with("invalid type: integer `1`, expected unit"));
    assert!(failure::<Shape>("7").starts_with("invalid type: an integer, expected the name of a variant"));
    assert_eq!(to_object(&u128::MAX), Err(ToObjectError::IntegerRange { value: u128::MAX }));
}

#[test]
fn a_key_that_comes_twice_is_refused() {
    struct Twice;
    impl Serialize for Twice {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map([("a", 1), ("a", 2)])
        }
    }
    assert_eq!(to_object(&Twice), Err(ToObjectError::DuplicateKey));
}

#[test]
fn a_type_that_only_wraps_itself_comes_to_an_end() {
    #[derive(Debug, Deserialize)]
    struct Endless(#[expect(dead_code)] Option<Box<Endless>>);
    assert_eq!(from_object::<Endless>(&Object::from(1)).unwrap_err(), FromObjectError::Wrapped);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Tree {
    children: Vec<Tree>,
}

fn tree(levels: usize) -> Tree {
    (1..levels).fold(Tree { children: Vec::new() }, |inner, _| Tree { children: vec![inner] })
}

/// Serde's own code recurses, so that types need more of a stack than objects do. This is what threads have.
#[test]
fn the_deepest_value_fits_the_stack_of_a_thread() {
    let deepest = thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(|| {
        let value = tree(MAX_DEPTH / 2);
        let object = to_object(&value).unwrap();
        assert_eq!(object.depth(), MAX_DEPTH);
        assert_eq!(from_object::<Tree>(&object).unwrap(), value);
        let json: serde_json::Value = from_object(&object).unwrap();
        assert_eq!(to_object(&json).unwrap(), object);
        assert_eq!(to_object(&object).unwrap(), object);
        let bytes = bincode::serde::encode_to_vec(&object, bincode::config::standard()).unwrap();
        let (read, _): (Object, usize) =
            bincode::serde::decode_from_slice(&bytes, bincode::config::standard()).unwrap();
        assert_eq!(read, object);
        assert_eq!(serde_json::from_value::<Object>(serde_json::to_value(&object).unwrap()).unwrap(), object);
    });
    deepest.unwrap().join().unwrap();
}

#[test]
fn one_level_more_is_refused() {
    assert_eq!(to_object(&tree(MAX_DEPTH / 2 + 1)), Err(ToObjectError::TooDeep));
    let deepest = (0..MAX_DEPTH).fold(Object::Nil, |inner, _| Object::vector([inner]));
    assert_eq!(to_object(&[&deepest]), Err(ToObjectError::TooDeep));
    assert_eq!(to_object(&deepest).as_ref(), Ok(&deepest));
    let too_deep = Object::vector([deepest]);
    assert!(to_object(&too_deep).is_err());
    assert!(from_object::<Object>(&too_deep).is_err());
    assert!(serde_json::to_string(&too_deep).is_err());
    assert!(bincode::serde::encode_to_vec(&too_deep, bincode::config::standard()).is_err());
}

//! The spans of a call: one at its caller's side and one at its receiver's, that say whose call it is.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use actix::prelude::*;
use ensemble::{Cookie, Exports, MemoryNetwork, Node, RemoteMessage};
use serde::{Deserialize, Serialize};
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    filter::LevelFilter,
    layer::{self, SubscriberExt},
    registry::LookupSpan,
};

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "u64")]
struct Add(u64);

impl RemoteMessage for Add {
    const NAME: &'static str = "counter.add";
}

#[derive(Default)]
struct Counter(u64);

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<Add> for Counter {
    type Result = u64;

    fn handle(&mut self, add: Add, _: &mut Context<Self>) -> u64 {
        assert!(add.0 < 100, "as the test wants");
        self.0 += add.0;
        self.0
    }
}

type Fields = BTreeMap<&'static str, String>;

/// The fields of the spans that have ended, with their names.
#[derive(Clone, Default)]
struct Ended(Arc<Mutex<Vec<Fields>>>);

struct Collect<'a>(&'a mut Fields);

impl Visit for Collect<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Ended {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: layer::Context<'_, S>) {
        let mut fields = Fields::from([("name", attributes.metadata().name().to_owned())]);
        attributes.record(&mut Collect(&mut fields));
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: layer::Context<'_, S>) {
        let span = context.span(id).unwrap();
        values.record(&mut Collect(span.extensions_mut().get_mut::<Fields>().unwrap()));
    }

    fn on_close(&self, id: Id, context: layer::Context<'_, S>) {
        let fields = context.span(&id).unwrap().extensions_mut().remove::<Fields>().unwrap();
        self.0.lock().unwrap().push(fields);
    }
}

impl Ended {
    /// The spans since the last time, of one name.
    fn take(&self, name: &str) -> Vec<Fields> {
        let mut all = self.0.lock().unwrap();
        let (taken, left) = all.drain(..).partition(|fields: &Fields| fields["name"] == name);
        *all = left;
        taken
    }
}

fn fields(pairs: &[(&'static str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

#[actix::test]
async fn a_call_has_a_span_at_both_sides() {
    let ended = Ended::default();
    let subscriber = tracing_subscriber::registry().with(ended.clone().with_filter(LevelFilter::DEBUG));
    let _default = tracing::subscriber::set_default(subscriber);
    let (network, cookie) = (MemoryNetwork::new(), Cookie::generate().unwrap());
    let builder = |name: &str| Node::builder(name).cookie(cookie.clone()).memory(network.clone());
    let there = builder("there").listen("mem:there".parse().unwrap()).start().await.unwrap();
    there.export("counter", Exports::start(Counter(0)).message::<Add>()).unwrap();
    let here = builder("here").start().await.unwrap();
    here.set_route("there".parse().unwrap(), there.addresses());
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let remote = here.remote("there", "counter").with_trace(trace.parse().unwrap());
    assert_eq!(remote.send(Add(2)).await, Ok(2));
    let common = [
        ("from", "here"),
        ("actor", "counter"),
        ("message", "counter.add"),
        ("trace_id", "0af7651916cd43dd8448eb211c80319c"),
    ];
    let call = [("name", "call"), ("to", "there"), ("is_post", "false"), ("outcome", "ok")];
    assert_eq!(ended.take("call"), [fields(&[&common[..], &call].concat())]);
    let serve = [("name", "serve"), ("at", "there"), ("outcome", "answered")];
    assert_eq!(ended.take("serve"), [fields(&[&common[..], &serve].concat())]);

    let untraced = here.remote("there", "counter");
    assert!(untraced.send(Add(100)).await.is_err());
    let [call, serve] = ["call", "serve"].map(|name| ended.take(name).remove(0));
    assert_eq!(call["outcome"], "the actor gave no result: the actor stopped or panicked before it answered");
    assert_eq!((serve["outcome"].as_str(), serve.contains_key("trace_id")), ("died", false));
    untraced.try_send(Add(1)).unwrap();
    assert_eq!(ended.take("call")[0]["is_post"], "true");
}

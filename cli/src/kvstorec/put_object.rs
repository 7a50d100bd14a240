//! `kvstorec put-object`: reads an object and stores it under a key. JSON: as of `put`.

use kvstore::{ClientError, object::Object};

use super::{
    cli::{Input, ObjectFormat, Place},
    put,
    store::with_store,
};
use crate::{
    exit::{Code, Failure, Outcome},
    files,
    options::GlobalOptions,
};

/// Reads an object and stores it under a key
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing is stored when the text is malformed.

Examples:
  $ echo '((a . 1) (b . 2) (c . 3))' | kvstorec put-object my-alist
  $ kvstorec put-object --format json --input foo.json foo")]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    input: Input,

    /// How the object is written: as an S-expression or as JSON
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = ObjectFormat::Sexp)]
    format: ObjectFormat,
}

pub(super) fn execute(args: &Args, globals: &GlobalOptions) -> Outcome {
    with_store(&args.place, globals, async |store| {
        let object = read(args, store.max_value_bytes())?;
        let value = object.to_bytes().map_err(|why| store.failure(&ClientError::TooDeep(why)))?;
        put::show(&store, &store.put(value).await?, globals.printer())
    })
}

fn read(args: &Args, limit: u64) -> Outcome<Object> {
    let input = &args.input.input;
    let name =
        if input.as_os_str() == "-" { "standard input".to_owned() } else { input.display().to_string() };
    let bad = |why: &dyn std::fmt::Display, form: &str| {
        Failure::new(Code::Failed, format_args!("{name} is no {form}: {why}")).advise("nothing was stored")
    };
    let form = match args.format {
        ObjectFormat::Sexp => "S-expression",
        ObjectFormat::Json => "JSON",
    };
    let text = String::from_utf8(files::read(input, limit)?).map_err(|why| bad(&why.utf8_error(), form))?;
    let parsed = match args.format {
        ObjectFormat::Sexp => Object::parse_sexp(&text),
        ObjectFormat::Json => Object::from_json(&text),
    };
    parsed.map_err(|why| bad(&why, form))
}

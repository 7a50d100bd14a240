//! `kvstorec put-object`: reads an object and stores it under a key. JSON: as of `put`.

use kvstore::{ClientError, object::Object};

use super::{
    cli::{Input, ObjectFormat, Place, PutCondition},
    put,
    store::with_store,
};
use crate::{
    exit::{Code, Failure, Outcome},
    files,
    settings::Settings,
};

/// Reads an object and stores it under a key
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing is stored when the text is malformed, or when a condition does not hold (exit code 6).

Examples:
  $ echo '((a . 1) (b . 2) (c . 3))' | kvstorec put-object my-alist
  $ kvstorec put-object --format json --input foo.json foo")]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    condition: PutCondition,

    /// How the object is written: as an S-expression or as JSON
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = ObjectFormat::Sexp)]
    format: ObjectFormat,
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Outcome {
    with_store(&args.place, settings, async |store| {
        let object = read(args, store.max_value_bytes())?;
        let value = object.to_bytes().map_err(|why| store.failure(&ClientError::TooDeep(why)))?;
        put::show(&store, &store.put(value, args.condition.options()).await?, settings.printer())
    })
}

fn read(args: &Args, limit: u64) -> Outcome<Object> {
    let input = &args.input.input;
    let name =
        if input.as_os_str() == "-" { "standard input".to_owned() } else { input.display().to_string() };
    let bad = |why: &dyn std::fmt::Display, form: &str| {
        Failure::new(Code::Usage, format_args!("{name} is no {form}: {why}")).advise("nothing was stored")
    };
    let form = match args.format {
        ObjectFormat::Sexp => "S-expression",
        ObjectFormat::Json => "JSON",
    };
    let content = files::read(input, limit)?;
    let text = str::from_utf8(&content).map_err(|why| {
        let (line, column) = end_of(&content[..why.valid_up_to()]);
        bad(&format_args!("line {line}, column {column}: it is not UTF-8"), form)
    })?;
    let parsed = match args.format {
        ObjectFormat::Sexp => Object::parse_sexp(text),
        ObjectFormat::Json => Object::from_json(text),
    };
    parsed.map_err(|why| bad(&why, form))
}

/// The line and the column behind a text, both from 1, as the readers of objects count them.
fn end_of(valid: &[u8]) -> (usize, usize) {
    let text = String::from_utf8_lossy(valid);
    let last_line = text.rsplit('\n').next().unwrap_or_default();
    (text.matches('\n').count() + 1, last_line.chars().count() + 1)
}

//! `kvstorec get-object`: the object under a key.
//!
//! JSON: `{"key": TEXT, "object": OBJECT}`; `key_hex` instead of `key` where that is no text. The object has the form
//! of `--format json`.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    cli::{ObjectFormat, Output, Place},
    key::JsonKey,
    store::with_store,
};
use crate::{
    exit::{Code, Failure, Outcome},
    files, printer,
    settings::Settings,
};

/// Gets the object stored under a key
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  $ kvstorec get-object my-alist
  $ kvstorec get-object my-alist --format json")]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,

    /// How to write the object: as an S-expression or as JSON
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = ObjectFormat::Sexp)]
    format: ObjectFormat,
}

#[derive(Serialize)]
struct Got<'a> {
    #[serde(flatten)]
    key: JsonKey<'a>,
    object: Box<RawValue>,
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Outcome {
    with_store(&args.place, settings, async |store| {
        let got = store
            .getting(store.client().get_value(store.key.bytes()))
            .await
            .map_err(|why| store.failure(&why))?;
        let object = got.ok_or_else(|| store.no_such_key())?;
        let printer = settings.printer();
        let not_written = |why: &dyn std::error::Error| {
            Failure::new(
                Code::Failed,
                format_args!("the object under {} cannot be written: {why}", store.key),
            )
        };
        let content = if printer.is_json() {
            let object = object.to_json().map_err(|why| not_written(&why))?;
            let object = RawValue::from_string(object).map_err(|why| not_written(&why))?;
            printer::json_line(&Got { key: store.key.in_json(), object })?
        } else {
            let text = match args.format {
                ObjectFormat::Sexp => object.to_sexp(),
                ObjectFormat::Json => object.to_json().map_err(|why| not_written(&why))?,
            };
            (text + "\n").into_bytes()
        };
        files::write(&args.output.output, &content, printer)
    })
}

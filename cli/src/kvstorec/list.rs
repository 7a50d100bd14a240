//! `kvstorec list`: the keys, in their order.
//!
//! JSON: `{"keys": [{"key": TEXT, "revision": NUMBER, "value_bytes": NUMBER, "stored_bytes": NUMBER, "expires_in_ms":
//! NUMBER | null}, ..], "next": TEXT | null}`; `key_hex` and `next_hex` where a key is no text. The numbers are null
//! where a record cannot be read. `next` is what to give as `--after` to go on.

use std::{ffi::OsString, fmt::Write as _, os::unix::ffi::OsStrExt};

use kvstore::messages::{KeyPage, ListedKey};
use serde::Serialize;

use super::{
    cli::Reach,
    key::{JsonKey, Key, parse_hex},
    store::with_server,
};
use crate::{
    exit::Outcome,
    human,
    options::number_from,
    printer::{self, Printer},
    settings::Settings,
};

/// How many keys are asked for at once.
const PAGE_KEYS: u32 = 1000;

/// Lists the keys, in the order of their bytes
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A key is printed as it is, save for backslashes, control characters and what is no UTF-8: those come as in
a shell's $'..', as \\\\ and \\xHH.

Keys that are put or removed meanwhile may be there or not; all others come exactly once.

Examples:
  $ kvstorec list
  $ kvstorec list users/ --long
  $ kvstorec list --limit 100 --after users/bob")]
pub(super) struct Args {
    /// What the keys begin with [default: all keys]
    #[arg(value_name = "PREFIX", default_value = "", hide_default_value = true)]
    prefix: OsString,

    /// Show revision, size, size as stored, and the time left too
    #[arg(short, long)]
    long: bool,

    /// List at most so many keys
    #[arg(long, value_name = "N", value_parser = number_from(1))]
    limit: Option<u64>,

    /// Begin behind this key
    #[arg(long, value_name = "KEY")]
    after: Option<OsString>,

    /// Begin behind this key, given as hexadecimal digits
    #[arg(long, value_name = "HEX", conflicts_with = "after", value_parser = parse_hex)]
    after_hex: Option<Key>,

    #[command(flatten)]
    reach: Reach,
}

#[derive(Serialize)]
struct Entry<'a> {
    #[serde(flatten)]
    key: JsonKey<'a>,
    revision: Option<u64>,
    value_bytes: Option<u64>,
    stored_bytes: Option<u64>,
    expires_in_ms: Option<u64>,
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Outcome {
    with_server(&args.reach, settings, async |server| {
        let prefix = Key::new(&args.prefix);
        let printer = settings.printer();
        let mut shown = Shown { printer, long: args.long, keys: 0 };
        let mut left = args.limit.unwrap_or(u64::MAX);
        let after = match (&args.after, &args.after_hex) {
            (Some(after), _) => after.as_bytes().to_vec(),
            (None, Some(after)) => after.bytes().to_vec(),
            (None, None) => Vec::new(),
        };
        let mut after = Some(after.into());
        while let Some(last) = after.take_if(|_| left > 0) {
            let limit = u32::try_from(left).map_or(PAGE_KEYS, |left| left.min(PAGE_KEYS));
            let page = server.client.list(prefix.bytes(), &last, limit).await;
            let page = page.map_err(|why| server.failure(&why, &prefix))?;
            left -= page.keys.len() as u64;
            shown.page(&page)?;
            after = page.next;
        }
        shown.end(after.as_deref())
    })
}

/// The output, which is written page by page.
struct Shown {
    printer: Printer,
    long: bool,
    keys: u64,
}

impl Shown {
    fn page(&mut self, page: &KeyPage) -> Outcome {
        let mut text = Vec::new();
        for listed in &page.keys {
            let key = Key::of(listed.key.to_vec());
            if self.printer.is_json() {
                text.extend_from_slice(if self.keys == 0 { b"{\"keys\":[" } else { b"," });
                let line = printer::json_line(&entry(&key, listed))?;
                text.extend_from_slice(line.trim_ascii_end());
            } else {
                if self.long && self.keys == 0 {
                    text.extend_from_slice(HEADER.as_bytes());
                }
                text.extend_from_slice(line(&key, listed, self.long).as_bytes());
            }
            self.keys += 1;
        }
        self.printer.bytes(&text)
    }

    fn end(&self, next: Option<&[u8]>) -> Outcome {
        let next = next.map(|next| Key::of(next.to_vec()));
        if self.printer.is_json() {
            let begin = if self.keys == 0 { "{\"keys\":[" } else { "" };
            let next = match next.as_ref().map(Key::in_json) {
                None => "\"next\":null".to_owned(),
                Some(JsonKey::Key(text)) => format!("\"next\":{}", serde_json::Value::from(text)),
                Some(JsonKey::KeyHex(hex)) => format!("\"next_hex\":\"{hex}\""),
            };
            return self.printer.bytes(format!("{begin}],{next}}}\n").as_bytes());
        }
        if let Some(next) = next {
            printer::complain(format_args!("kvstorec: there are more keys: go on behind {}", next.in_list()));
        }
        Ok(())
    }
}

fn entry<'a>(key: &'a Key, listed: &ListedKey) -> Entry<'a> {
    let about = listed.about;
    Entry {
        key: key.in_json(),
        revision: about.map(|about| about.revision),
        value_bytes: about.map(|about| about.value_bytes),
        stored_bytes: about.map(|about| about.stored_bytes),
        expires_in_ms: about.and_then(|about| about.expires_in_ms),
    }
}

const HEADER: &str = "  REVISION        SIZE      STORED    TIME LEFT  KEY\n";

fn line(key: &Key, listed: &ListedKey, long: bool) -> String {
    let mut line = String::new();
    if long {
        let written = match listed.about {
            Some(about) => write!(
                line,
                "{:>10}  {:>10}  {:>10}  {:>11}  ",
                about.revision,
                about.value_bytes,
                about.stored_bytes,
                time_left(about.expires_in_ms)
            ),
            None => write!(line, "{:>10}  {:>10}  {:>10}  {:>11}  ", "damaged", "?", "?", "?"),
        };
        written.expect("a string can be written");
    }
    line + &key.in_list() + "\n"
}

/// What is left of a time to live, for people.
pub(super) fn time_left(expires_in_ms: Option<u64>) -> String {
    expires_in_ms.map_or_else(|| "-".to_owned(), human::duration_ms)
}

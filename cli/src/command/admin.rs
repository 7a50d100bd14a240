//! `ensemble admin`: what the operator of an ensemble sets up.
//!
//! JSON of `cookie`: `{"file": PATH}`, and `"cookie": HEX` with `--view`.

use clap::Subcommand;
use ensemble::Cookie;
use serde::Serialize;

use crate::{app::Context, exit::Outcome};

/// Sets up what the ensemble needs
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  $ ensemble admin cookie")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Cookie(CookieArgs),
}

/// Makes the cookie: the secret that the servers of an ensemble share
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The cookie is a file in the home directory. Copy it to every machine and user of the ensemble.

Examples:
  $ ensemble admin cookie              make one; fails if there is one
  $ ensemble admin cookie --view       show the one there is
  $ ensemble admin cookie --force      replace it: all servers then need the new one")]
struct CookieArgs {
    /// Replace the cookie if there is one
    #[arg(short, long)]
    force: bool,

    /// Show the cookie; without --force, the one there is
    #[arg(short, long)]
    view: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cookie: Option<&'a str>,
}

pub(crate) fn execute(args: Args, context: Context<'_>) -> Outcome {
    let Action::Cookie(args) = args.action;
    let home = context.settings.home();
    let path = home.cookie();
    let cookie = if args.view && !args.force {
        Cookie::load(&path)?
    } else {
        home.create()?;
        Cookie::create(&path, args.force)?
    };
    let digits = args.view.then(|| cookie.reveal_hex());
    let file = path.to_string_lossy();
    let shown = Shown { file: &file, cookie: digits.as_ref().map(|digits| digits.as_str()) };
    context.settings.printer().result(&shown, |shown| match shown.cookie {
        Some(digits) => format!("{digits}\n"),
        None => String::new(),
    })
}

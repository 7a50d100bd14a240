//! Where the log of a process goes. Its content comes from the other crates.

use std::{
    env,
    io::{self, IsTerminal},
    path::Path,
};

use ensemble::{Home, ServerId};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    exit::{Code, Failure, Outcome},
    log_file::LogFile,
    options::LogFormat,
    settings::LogSetup,
};

/// The name of a server's own log in its directory.
const LOG_FILE: &str = "log";

/// Starts the log of the server `server`; gives the file that it goes to, if it goes to one.
pub(crate) fn start_server(options: &LogSetup, home: &Home, server: &ServerId) -> Outcome<Option<LogFile>> {
    let filter = EnvFilter::try_new(&options.level).map_err(|cause| Failure::of(Code::Usage, &cause))?;
    let file = match options.file.as_deref() {
        None => None,
        Some(path) if path == Path::new("-") => Some(open(&home.ensure_server_dir(server)?.join(LOG_FILE))?),
        Some(path) => Some(open(path)?),
    };
    match &file {
        Some(file) => install(filter, options.format, false, file.clone()),
        None => {
            let is_colored = options.color.is_on(io::stderr().is_terminal());
            install(filter, options.format, is_colored, io::stderr);
        }
    }
    Ok(file)
}

/// Commands log nothing, unless `$ENSEMBLE_LOG` asks for it: what went wrong is in the one line of their error.
pub(crate) fn start_client() {
    if let Some(filter) = env::var("ENSEMBLE_LOG").ok().and_then(|text| EnvFilter::try_new(text).ok()) {
        install(filter, LogFormat::Text, false, io::stderr);
    }
}

fn open(path: &Path) -> Outcome<LogFile> {
    LogFile::open(path).map_err(|cause| {
        Failure::new(Code::Failed, format_args!("cannot open the log {}: {cause}", path.display()))
            .advise("choose another --log-file")
    })
}

fn install<W>(filter: EnvFilter, format: LogFormat, is_colored: bool, writer: W)
where
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let registry = tracing_subscriber::registry().with(filter);
    let layer = fmt::layer().with_writer(writer).with_ansi(is_colored);
    let installed = match format {
        LogFormat::Text => registry.with(layer).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    // Fails only when the program has a log already, as a user's own may; that one is then the better one.
    if let Err(cause) = installed {
        tracing::debug!(%cause, "the log that is there is kept");
    }
}

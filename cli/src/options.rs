//! The options that commands share, and how their values are read.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use ensemble::{Address, Home};

use crate::{exit::Outcome, printer::Printer};

/// How long a call may take unless `--timeout` says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalOptions {
    /// Home directory of the ensemble [default: $ENSEMBLE_HOME, else ~/.local/share/ensemble]
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,

    /// How long to wait for an answer, as in 5, 0.5, 200ms or 1m [default: 5]
    #[arg(long, global = true, value_name = "SECONDS", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// Print results as JSON
    #[arg(long, global = true)]
    json: bool,
}

impl GlobalOptions {
    pub(crate) fn home(&self) -> Outcome<Home> {
        Ok(Home::resolve(self.home.as_deref())?)
    }

    /// Whether `--home` was given: then the commands in other terminals need it too.
    pub(crate) fn has_home(&self) -> bool {
        self.home.is_some()
    }

    pub(crate) fn printer(&self) -> Printer {
        Printer::new(self.json)
    }

    /// What `--timeout` says.
    pub(crate) fn given_timeout(&self) -> Option<Duration> {
        self.timeout
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(DEFAULT_TIMEOUT)
    }

    /// The timeout, for what takes longer than a call.
    pub(crate) fn timeout_or(&self, default: Duration) -> Duration {
        self.timeout.unwrap_or(default)
    }
}

/// Options of every command that asks servers.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClientOptions {
    /// Address of the registry [default: that of the home]
    #[arg(short, long, value_name = "ADDR", env = "ENSEMBLE_REGISTRY", hide_env_values = true)]
    pub(crate) registry: Option<Address>,

    /// Allow plain TCP to other machines: authenticated, but not encrypted
    #[arg(long)]
    pub(crate) insecure_tcp: bool,
}

/// Options of every command that runs a server.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerOptions {
    /// Address to listen at, as in unix:/path or tcp:127.0.0.1:7700; repeatable [default: a socket in the home]
    #[arg(short, long, value_name = "ADDR")]
    pub(crate) listen: Vec<Address>,

    /// Address at which others reach the server, where it differs from --listen; repeatable
    #[arg(short, long, value_name = "ADDR")]
    pub(crate) announce: Vec<Address>,

    /// Allow plain TCP to and from other machines: authenticated, but not encrypted
    #[arg(long)]
    pub(crate) insecure_tcp: bool,

    #[command(flatten)]
    pub(crate) log: LogOptions,
}

/// What a server logs, how and where.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logging")]
pub(crate) struct LogOptions {
    /// Least level to log: error, warn, info, debug or trace; also by module, as in info,kvstore=debug
    #[arg(
        long = "log",
        value_name = "LEVEL",
        env = "ENSEMBLE_LOG",
        hide_env_values = true,
        default_value = "info",
        value_parser = parse_log_level
    )]
    pub(crate) level: String,

    /// Form of the log: lines for people, or a JSON object a line
    #[arg(long = "log-format", value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) format: LogFormat,

    /// File to append the log to, instead of standard error; - is the server's own log in the home
    #[arg(long = "log-file", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// A form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

fn parse_log_level(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    for part in text.split(',') {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        if !LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
            return Err(format!("{level:?} is no level; those are {}", LEVELS.join(", ")));
        }
    }
    tracing_subscriber::EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|cause| cause.to_string())
}

/// Reads a time: a number of seconds, or one with the unit ms, s or m.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_ms = match &text[digits.len()..] {
        "" | "s" => 1000.0,
        "ms" => 1.0,
        "m" => 60_000.0,
        unit => return Err(format!("{unit:?} is no unit; those are ms, s and m")),
    };
    let number: f64 =
        digits.parse().map_err(|_| "it must be a number, as in 5, 0.5, 200ms or 1m".to_owned())?;
    let seconds = number * unit_ms / 1000.0;
    if seconds.is_nan() || seconds <= 0.0 {
        return Err("it must be more than 0".to_owned());
    }
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| *duration <= LONGEST_TIMEOUT)
        .ok_or_else(|| format!("it must be at most {} seconds", LONGEST_TIMEOUT.as_secs()))
}

/// A day; more would be a mistake, and adding it to a time could overflow.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, milliseconds) in [("5", 5000), ("0.5", 500), ("200ms", 200), ("2s", 2000), ("1m", 60_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "-1", "0", "x", "5h", "NaN", "inf", "1e300", "86401", "0.0ms"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn levels_are_checked() {
        for text in ["info", "WARN", "off", "info,kvstore=debug", "ensemble::node=trace"] {
            assert_eq!(parse_log_level(text).as_deref(), Ok(text));
        }
        for text in ["", "loud", "info,kvstore", "kvstore=loud"] {
            assert!(parse_log_level(text).is_err(), "{text}");
        }
    }
}

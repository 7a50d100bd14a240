//! The options that commands share, and how their values are read.

use std::{env, fmt, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, ValueEnum};
use ensemble::Address;

/// Options of every command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalOptions {
    /// Home directory of the ensemble [env: ENSEMBLE_HOME] [default: ~/.local/share/ensemble]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,

    /// How long to wait for an answer, as in 5, 0.5, 200ms or 1m [default: 5]
    #[arg(long, global = true, value_name = "SECONDS", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,

    /// Print results as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Color in tables; auto, the default, is only on a terminal, and not when $NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", value_enum)]
    pub(crate) color: Option<Color>,
}

/// When there is color.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

impl Color {
    /// The word for it.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether what goes to a place is colored, which is a terminal or is not.
    pub(crate) fn is_on(self, is_terminal: bool) -> bool {
        let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = || env::var_os("TERM").is_some_and(|value| value == "dumb");
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => is_terminal && !is_set("NO_COLOR") && !is_dumb(),
        }
    }
}

/// Options of every command that asks servers.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClientOptions {
    /// Address of the registry [env: ENSEMBLE_REGISTRY] [default: that of the home]
    #[arg(short, long, value_name = "ADDR")]
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
    /// Least level to log: error, warn, info, debug or trace; also by module, as in info,kvstore=debug [env: ENSEMBLE_LOG] [default: info]
    #[arg(long = "log", value_name = "LEVEL", value_parser = parse_log_level)]
    pub(crate) level: Option<String>,

    /// Form of the log: lines for people, or a JSON object a line [default: text]
    #[arg(long = "log-format", value_name = "FORMAT", value_enum)]
    pub(crate) format: Option<LogFormat>,

    /// File to append the log to, instead of standard error; - is the server's own log in the home.
    /// It is opened anew at SIGHUP
    #[arg(long = "log-file", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// A form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Reads one of some words.
pub(crate) fn parse_value<T: ValueEnum>(text: &str) -> Result<T, String> {
    T::from_str(text, false).map_err(|_| {
        let names = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        let names: Vec<String> = names.map(|value| value.get_name().to_owned()).collect();
        format!("it must be one of {}", names.join(", "))
    })
}

/// Reads `true` or `false`.
pub(crate) fn parse_flag(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "it must be true or false".to_owned())
}

pub(crate) fn parse_log_level(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    for part in text.split(',') {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        if !LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
            return Err(format!("{level:?} is no level; those are {}", LEVELS.join(", ")));
        }
    }
    let read = tracing_subscriber::EnvFilter::try_new(text).map(|_| text.to_owned());
    read.map_err(|_| "it must be a level, or levels by module, as in info,kvstore=debug".to_owned())
}

/// Reads a time: a number of seconds, or one with the unit ms, s or m.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 =
        digits.parse().map_err(|_| "it must be a number, as in 5, 0.5, 200ms or 1m".to_owned())?;
    let unit_ms = match &text[digits.len()..] {
        "" | "s" => 1000.0,
        "ms" => 1.0,
        "m" => 60_000.0,
        unit => return Err(format!("{unit:?} is no unit; those are ms, s and m")),
    };
    let seconds = number * unit_ms / 1000.0;
    if seconds.is_nan() || seconds <= 0.0 {
        return Err("it must be more than 0".to_owned());
    }
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| *duration <= LONGEST_TIMEOUT)
        .ok_or_else(|| format!("it must be at most {} seconds", LONGEST_TIMEOUT.as_secs()))
}

/// Reads a whole number from `least` to `most`.
pub(crate) fn whole_number<T>(least: T, most: T) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + fmt::Display + Copy,
{
    move |text| {
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| format!("it must be a whole number from {least} to {most}"))
    }
}

/// As [`whole_number`], without a largest one.
pub(crate) fn number_from(least: u64) -> impl Fn(&str) -> Result<u64, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| *number >= least);
        number.ok_or_else(|| format!("it must be a whole number of at least {least}"))
    }
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
    fn numbers_are_told_with_their_bounds() {
        assert_eq!(number_from(1)("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(whole_number(1, 9)("9"), Ok(9));
        for text in ["", "x", "0", "10", "-1", "1.0"] {
            assert_eq!(whole_number(1, 9)(text).unwrap_err(), "it must be a whole number from 1 to 9");
        }
        assert_eq!(number_from(0)("-1").unwrap_err(), "it must be a whole number of at least 0");
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

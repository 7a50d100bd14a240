//! Amounts as people read them: lengths of time, numbers of bytes and of things, and moments. JSON has the plain
//! numbers instead, and moments in the same form.

use std::time::{SystemTime, UNIX_EPOCH};

/// A length of time in milliseconds, with the two units that matter: `0.4s`, `42s`, `5m12s`, `3h5m`, `4d2h`.
pub(crate) fn duration_ms(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if days > 0 {
        format!("{days}d{}h", hours % 24)
    } else if hours > 0 {
        format!("{hours}h{}m", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes}m{}s", seconds % 60)
    } else if seconds >= 10 {
        format!("{seconds}s")
    } else {
        format!("{seconds}.{}s", milliseconds % 1000 / 100)
    }
}

/// A moment, as RFC 3339 has it, in UTC and with milliseconds: `2026-11-23T05:04:03.002Z`.
pub(crate) fn time(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, milliseconds) = (since.as_secs(), since.subsec_millis());
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    let (year, month, day) = date(seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{:02}.{milliseconds:03}Z", seconds % 60)
}

/// The year, month and day of a day since 1970-01-01. Years begin in March here, so that the day that some have more is
/// their last; 400 of them have the same number of days (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (400 * era + year_of_era + u64::from(month <= 2), month, day)
}

/// A number of things: `1 entry`, `2 entries`.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A number of bytes, with the unit in which it has one to four digits: `17 B`, `1.2 KiB`, `3.4 GiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or_default();
    // What would be shown as 1024.0 is 1.0 of the next unit.
    while amount >= 1023.95 {
        let Some(next) = units.next() else { break };
        amount /= 1024.0;
        unit = next;
    }
    format!("{amount:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_have_the_units_that_matter() {
        for (milliseconds, text) in [
            (0, "0.0s"),
            (480, "0.4s"),
            (9_999, "9.9s"),
            (10_000, "10s"),
            (59_999, "59s"),
            (60_000, "1m0s"),
            (312_000, "5m12s"),
            (3_600_000, "1h0m"),
            (11_100_000, "3h5m"),
            (86_400_000, "1d0h"),
            (u64::MAX, "213503982334d14h"),
        ] {
            assert_eq!(duration_ms(milliseconds), text, "{milliseconds}");
        }
    }

    #[test]
    fn moments_are_dates_and_times() {
        let at = |seconds, milliseconds| {
            time(UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(milliseconds))
        };
        for (seconds, milliseconds, text) in [
            (0, 0, "1970-01-01T00:00:00.000Z"),
            (68_169_599, 999, "1972-02-28T23:59:59.999Z"),
            (68_169_600, 0, "1972-02-29T00:00:00.000Z"),
            (951_868_800, 0, "2000-03-01T00:00:00.000Z"),
            (1_795_582_882, 7, "2026-11-25T05:01:22.007Z"),
            (4_107_542_399, 0, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(at(seconds, milliseconds), text);
        }
        assert_eq!(time(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn bytes_have_the_unit_that_fits() {
        for (amount, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_234_567, "1.2 MiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (64 << 20, "64.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(amount), text, "{amount}");
        }
    }
}

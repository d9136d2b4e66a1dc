//! Sizes and times as people write and read them.

use std::time::Duration;

/// Bytes of a size such as `64m`, `1.5g`, `100`, `10MiB`: units are powers of 1024, as Docker and Podman have it for limits.
pub(crate) fn parse_size(text: &str) -> Option<i64> {
    parse(text, 1024)
}

/// The same with powers of 1000, as both have it for the sizes of logs.
pub(crate) fn parse_human_size(text: &str) -> Option<i64> {
    parse(text, 1000)
}

fn parse(text: &str, step: i64) -> Option<i64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = step.pow(match &lower[digits.len()..] {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return None,
    });
    if let Ok(n) = digits.parse::<i64>() {
        return n.checked_mul(unit).filter(|&n| n >= 0);
    }
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number: f64 = if plain { digits.parse().ok()? } else { return None };
    let bytes = number * unit as f64;
    (bytes < i64::MAX as f64).then_some(bytes as i64)
}

/// A size in decimal units with three or four digits: `4.5 kB`, `12.3 MB` (go-units' HumanSize, as Podman and Docker show
/// images).
pub(crate) fn human_size(bytes: u64, space: bool) -> String {
    with_digits(bytes, 3, if space { " " } else { "" })
}

/// The same with four digits and no blank: `4.541kB`, as both show what is used on disk.
pub(crate) fn exact_size(bytes: u64) -> String {
    with_digits(bytes, 4, "")
}

/// The same with powers of 1024: `324KiB` (go-units' BytesSize).
pub(crate) fn binary_size(bytes: u64) -> String {
    in_units(bytes, 1024.0, ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"], 4, "")
}

/// A length of time as Go prints one: `10m32.99s`.
pub(crate) fn go_duration(nanoseconds: u64) -> String {
    let with_fraction = |n: u64, unit: u64| {
        let text = format!("{}.{:0width$}", n / unit, n % unit, width = unit.ilog10() as usize);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match nanoseconds {
        0 => "0s".into(),
        n @ ..1_000 => format!("{n}ns"),
        n @ ..1_000_000 => format!("{}µs", with_fraction(n, 1_000)),
        n @ ..1_000_000_000 => format!("{}ms", with_fraction(n, 1_000_000)),
        n => {
            let (minutes, rest) = (n / 60_000_000_000, n % 60_000_000_000);
            let seconds = with_fraction(rest, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

fn with_digits(bytes: u64, digits: usize, between: &str) -> String {
    in_units(bytes, 1000.0, ["B", "kB", "MB", "GB", "TB", "PB", "EB"], digits, between)
}

fn in_units(bytes: u64, step: f64, units: [&str; 7], digits: usize, between: &str) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    // So many significant digits, without trailing zeroes.
    let decimals = digits.saturating_sub(match value {
        100.0.. => 3,
        10.0.. => 2,
        _ => 1,
    });
    let mut text = format!("{value:.decimals$}");
    if text.contains('.') {
        text = text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    format!("{text}{between}{}", units[unit])
}

/// A length of time in words (go-units' HumanDuration).
pub(crate) fn human_duration(seconds: i64) -> String {
    let s = seconds.max(0);
    let (minutes, hours) = (s / 60, (s + 1800) / 3600);
    match s {
        0 => "Less than a second".into(),
        1 => "1 second".into(),
        2..60 => format!("{s} seconds"),
        60..120 => "About a minute".into(),
        120..3600 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".into(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// How long ago an RFC 3339 moment was, in words.
pub(crate) fn ago(moment: &str) -> String {
    match seconds_since(moment) {
        Some(s) => format!("{} ago", human_duration(s)),
        None => "N/A".into(),
    }
}

/// Seconds since an RFC 3339 moment.
pub(crate) fn seconds_since(moment: &str) -> Option<i64> {
    let then: jiff::Timestamp = moment.parse().ok()?;
    Some(jiff::Timestamp::now().as_second() - then.as_second())
}

/// An RFC 3339 moment as Go prints one: `2026-01-31 12:00:00 +0000 UTC`. Texts that are none stay.
pub(crate) fn go_time(moment: &str) -> String {
    match moment.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
        Err(_) => moment.to_owned(),
    }
}

/// A length of time as Go writes it, such as `90s`, `500ms` or `1h30m`; none is negative.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let span = text.parse::<jiff::SignedDuration>().ok();
    let span = span.or_else(|| (text == "0").then_some(jiff::SignedDuration::ZERO))?;
    Duration::try_from(span).ok()
}

/// The same where a number alone is seconds.
pub(crate) fn delay(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds.or_else(|| duration(text)).ok_or_else(|| "use a time such as 2s, 500ms or 1m30s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        let times = [
            ("0", 0),
            ("500ms", 500),
            ("90s", 90_000),
            ("1.5m", 90_000),
            ("24h", 86_400_000),
            ("1h30m", 5_400_000),
        ];
        for (text, milliseconds) in times {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in ["", "x", "-1h", "5", "s", "1d", "é"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        assert_eq!((delay("5"), delay("2s")), (Ok(Duration::from_secs(5)), Ok(Duration::from_secs(2))));
        assert!(delay("-5").is_err() && delay("soon").is_err());
    }

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in
            [("64m", 64 << 20), ("1.5g", 3 << 29), ("100", 100), ("10MiB", 10 << 20), ("0", 0)]
        {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for bad in ["", "m", "-1", "1x", "1e9", "9999999999999999999", "nan", "1..5g"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_and_times_are_shown() {
        assert_eq!(human_size(999, true), "999 B");
        assert_eq!(human_size(4_540, true), "4.54 kB");
        assert_eq!(human_size(123_456_789, false), "123MB");
        assert_eq!(human_size(2_000_000, false), "2MB");
        assert_eq!(exact_size(4_541_234), "4.541MB");
        assert_eq!(exact_size(123_456), "123.5kB");
        assert_eq!(binary_size(331_776), "324KiB");
        assert_eq!(binary_size(25_276_502_016), "23.54GiB");
        for (nanoseconds, text) in [
            (0, "0s"),
            (7, "7ns"),
            (1_500, "1.5µs"),
            (168_637_337, "168.637337ms"),
            (632_994_691_130, "10m32.99469113s"),
            (60_000_000_000, "1m0s"),
            (3_661_000_000_000, "1h1m1s"),
        ] {
            assert_eq!(go_duration(nanoseconds), text);
        }
        assert_eq!(human_duration(0), "Less than a second");
        assert_eq!(human_duration(59), "59 seconds");
        assert_eq!(human_duration(61), "About a minute");
        assert_eq!(human_duration(3700), "About an hour");
        assert_eq!(human_duration(86_400 * 3), "3 days");
    }
}

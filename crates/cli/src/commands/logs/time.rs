//! Moments as both peers take them.

use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use loment_logs::Moment;

use crate::error::Error;

/// Which side of now a duration is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Before, as for `--since` of both, and for Docker's `--until`.
    Before,
    /// After, as for Podman's `--until`.
    After,
}

/// A moment: RFC 3339 with any digits, the same without a zone, with fewer parts, seconds since 1970, or a duration from now.
pub(super) fn moment(text: &str, side: Side, zone: &TimeZone, now: Timestamp) -> Result<Moment, Error> {
    absolute(text, zone).or_else(|| seconds(text)).or_else(|| relative(text, side, now)).ok_or_else(|| {
        Error::Invalid(format!(
            "invalid time {text:?}: use 2026-01-31T12:00:00Z, seconds since 1970, or a duration such as 10m"
        ))
    })
}

fn absolute(text: &str, zone: &TimeZone) -> Option<Moment> {
    let exact = Moment::parse(text.as_bytes());
    exact.or_else(|| {
        let (local, zone) = match offset(text) {
            Some((local, zone)) => (local, zone),
            None => (text, zone.clone()),
        };
        let date_time = match local.split_once('T') {
            // Hours alone, or with minutes, as Docker has them.
            Some((date, time)) if time.len() == 2 => format!("{date}T{time}:00").parse::<DateTime>().ok()?,
            Some(_) => local.parse::<DateTime>().ok()?,
            None => local.parse::<Date>().ok()?.to_datetime(jiff::civil::Time::midnight()),
        };
        let time = date_time.to_zoned(zone).ok()?.timestamp();
        Some(of(time))
    })
}

/// A time zone at the end of a date or of a time.
fn offset(text: &str) -> Option<(&str, TimeZone)> {
    if let Some(local) = text.strip_suffix(['Z', 'z']) {
        return Some((local, TimeZone::UTC));
    }
    let at = text.len().checked_sub("+00:00".len())?;
    let (local, zone) = text.split_at_checked(at)?;
    let sign = match zone.as_bytes() {
        [b'+', _, _, b':', _, _] => 1,
        // Of a date without a zone the last part has no colon.
        [b'-', _, _, b':', _, _] => -1,
        _ => return None,
    };
    let number = |range: std::ops::Range<usize>| zone.get(range)?.parse::<i32>().ok();
    let seconds = sign * (number(1..3)? * 3600 + number(4..6)? * 60);
    Some((local, TimeZone::fixed(jiff::tz::Offset::from_seconds(seconds).ok()?)))
}

/// `1136073845.000000001`: digits are read as they are, a float would lose the last ones.
fn seconds(text: &str) -> Option<Moment> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanoseconds = format!("{fraction:0<9}").parse().ok()?;
    Some(Moment::new(seconds.parse().ok()?, nanoseconds))
}

/// Go's durations: `1h30m`, `1.5s`, `-10m`.
fn relative(text: &str, side: Side, now: Timestamp) -> Option<Moment> {
    let (is_negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut duration = rest.parse::<SignedDuration>().ok().filter(|d| !d.is_negative())?;
    if is_negative != (side == Side::Before) {
        duration = duration.checked_neg()?;
    }
    let moment = now.checked_add(duration).ok();
    // Longer ago than can be said: since ever.
    Some(moment.map_or(Moment::new(if duration.is_negative() { i64::MIN } else { i64::MAX }, 0), of))
}

fn of(time: Timestamp) -> Moment {
    let nanoseconds = time.as_nanosecond();
    Moment::new(nanoseconds.div_euclid(1_000_000_000) as i64, nanoseconds.rem_euclid(1_000_000_000) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_000_000;

    fn read(text: &str, side: Side) -> Option<Moment> {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        moment(text, side, &zone, Timestamp::from_second(NOW).unwrap()).ok()
    }

    #[test]
    fn times_are_read_as_the_peers_read_them() {
        let at = |seconds, nanoseconds| Some(Moment::new(seconds, nanoseconds));
        for (text, wanted) in [
            ("2026-11-18T11:06:40Z", at(NOW, 0)),
            ("2026-11-18T11:06:40.000000001Z", at(NOW, 1)),
            ("2026-11-18T13:06:40.5+02:00", at(NOW, 500_000_000)),
            ("2026-11-18T09:06:40-02:00", at(NOW, 0)),
            // Without a zone, the machine's.
            ("2026-11-18T13:06:40", at(NOW, 0)),
            ("2026-11-18T13:06:40.25", at(NOW, 250_000_000)),
            ("2026-11-18T13:06", at(NOW - 40, 0)),
            ("2026-11-18T13", at(NOW - 400, 0)),
            ("2026-11-18T11:06Z", at(NOW - 40, 0)),
            ("2026-11-18", at(1_794_952_800, 0)),
            ("2026-11-18Z", at(1_794_960_000, 0)),
            ("2026-11-18-02:00", at(1_794_967_200, 0)),
            ("1795000000", at(NOW, 0)),
            ("1795000000.000000001", at(NOW, 1)),
            ("1795000000.5", at(NOW, 500_000_000)),
            ("0", at(0, 0)),
            ("10m", at(NOW - 600, 0)),
            ("1h30m", at(NOW - 5400, 0)),
            ("1.5s", at(NOW - 2, 500_000_000)),
            ("-10m", at(NOW + 600, 0)),
        ] {
            assert_eq!(read(text, Side::Before), wanted, "{text}");
        }
        assert_eq!(read("10m", Side::After), at(NOW + 600, 0));
        assert_eq!(read("-10m", Side::After), at(NOW - 600, 0));
        for text in ["", "soon", "2026-13-01", "10", "1795000000.0000000001", "--1m"] {
            let is_number = text == "10";
            assert_eq!(read(text, Side::Before).is_some(), is_number, "{text}");
        }
    }
}

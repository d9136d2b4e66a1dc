//! Moments, without a time zone database: the writer stamps each line with one.

use std::fmt;

use rustix::time::{ClockId, clock_gettime};

/// A moment, to the nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    seconds: i64,
    nanoseconds: u32,
}

impl Moment {
    /// So many seconds since 1970-01-01 (UTC), and nanoseconds after those.
    pub fn new(seconds: i64, nanoseconds: u32) -> Self {
        Self { seconds, nanoseconds }
    }

    /// Whole seconds since 1970-01-01 (UTC).
    pub fn seconds(&self) -> i64 {
        self.seconds
    }

    /// Nanoseconds after those.
    pub fn nanoseconds(&self) -> u32 {
        self.nanoseconds
    }

    /// The clock's time.
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Realtime);
        Self { seconds: now.tv_sec, nanoseconds: now.tv_nsec as u32 }
    }

    /// The moment so much later.
    pub fn after(self, time: std::time::Duration) -> Self {
        let nanoseconds = self.nanoseconds + time.subsec_nanos();
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX / 4);
        let seconds =
            self.seconds.saturating_add(seconds).saturating_add((nanoseconds / 1_000_000_000).into());
        Self { seconds, nanoseconds: nanoseconds % 1_000_000_000 }
    }

    /// RFC 3339, with any offset and any number of digits after the second; those past the ninth are dropped.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (date, rest) = text.split_at_checked(19)?;
        let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if separators.iter().any(|&(i, c)| date[i] != c) {
            return None;
        }
        let number = |range: std::ops::Range<usize>| digits(&date[range]);
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
        // 60: a leap second, which is the next one here.
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let (nanoseconds, zone) = fraction(rest)?;
        let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset(zone)?;
        Some(Self { seconds, nanoseconds })
    }
}

impl fmt::Display for Moment {
    /// RFC 3339 with nine digits after the second, in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.seconds.div_euclid(86_400));
        let s = self.seconds.rem_euclid(86_400);
        let (hour, minute, second) = (s / 3600, s / 60 % 60, s % 60);
        let nanoseconds = self.nanoseconds;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}Z")
    }
}

/// Now, as RFC 3339 with nanoseconds, in UTC.
pub fn now_rfc3339() -> String {
    Moment::now().to_string()
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |n, c| c.is_ascii_digit().then(|| n * 10 + i64::from(c - b'0')))
}

/// `.123` before a time zone: nanoseconds, and the zone.
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let Some(rest) = text.strip_prefix(b".") else { return Some((0, text)) };
    let len = rest.iter().take_while(|c| c.is_ascii_digit()).count();
    if len == 0 {
        return None;
    }
    let read = digits(&rest[..len.min(9)])? as u32;
    Some((read * 10_u32.pow(9 - len.min(9) as u32), &rest[len..]))
}

/// Seconds east of Greenwich.
fn offset(zone: &[u8]) -> Option<i64> {
    let sign = match zone {
        b"Z" => return Some(0),
        [b'+', ..] => 1,
        [b'-', ..] => -1,
        _ => return None,
    };
    let [_, h1, h2, b':', m1, m2] = zone else { return None };
    Some(sign * (digits(&[*h1, *h2])? * 3600 + digits(&[*m1, *m2])? * 60))
}

/// The days since 1970-01-01 of a date (proleptic Gregorian calendar).
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is the last; eras are 400 years of 146,097 days.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The other way round.
fn civil(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_index + 2) / 5 + 1) as u32;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_moments() {
        let known = [
            (0, 0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_400, 5, "2000-02-29T00:00:00.000000005Z"),
            (1_795_000_000, 999_999_999, "2026-11-18T11:06:40.999999999Z"),
            (-1, 0, "1969-12-31T23:59:59.000000000Z"),
        ];
        for (seconds, nanoseconds, text) in known {
            let moment = Moment::new(seconds, nanoseconds);
            assert_eq!((moment.to_string().as_str(), Moment::parse(text.as_bytes())), (text, Some(moment)));
        }
    }

    #[test]
    fn seconds_are_carried() {
        let time = std::time::Duration::new(1, 600_000_000);
        assert_eq!(Moment::new(5, 500_000_000).after(time), Moment::new(7, 100_000_000));
    }

    #[test]
    fn offsets_and_any_number_of_digits_are_read() {
        let same = [
            "2026-11-18T11:06:40.5Z",
            "2026-11-18T13:06:40.5000000000+02:00",
            "2026-11-18T10:36:40.50-00:30",
        ];
        for text in same {
            assert_eq!(
                Moment::parse(text.as_bytes()),
                Some(Moment::new(1_795_000_000, 500_000_000)),
                "{text}"
            );
        }
        for text in [
            "",
            "2026-11-18",
            "2026-11-18T11:06:40",
            "2026-11-18T11:06:40.Z",
            "2026-13-18T11:06:40Z",
            "2026-11-18T11:06:40+2:00",
        ] {
            assert_eq!(Moment::parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in -62_000_000_000_i64..250_000_000_000, nanoseconds in 0_u32..1_000_000_000) {
            let moment = Moment::new(seconds, nanoseconds);
            prop_assert_eq!(Moment::parse(moment.to_string().as_bytes()), Some(moment));
        }
    }
}

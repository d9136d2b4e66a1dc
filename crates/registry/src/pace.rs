//! What a registry says about how fast it may be asked.

use std::fmt;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{DATE, RETRY_AFTER};
use jiff::Timestamp;

/// How much a registry still allows this client, as of its latest answer that said so. Docker Hub counts
/// manifests that are fetched, and says so in `ratelimit-limit` and `ratelimit-remaining`
/// (<https://docs.docker.com/docker-hub/usage/pulls/>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests in a window.
    pub limit: u64,
    /// Requests left in it.
    pub remaining: u64,
    /// Length of the window, when told.
    pub window: Option<Duration>,
}

impl RateLimit {
    /// Of an answer; `None` when it does not say, or not in a way that is understood.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let read = |name: &str| {
            let mut parts = headers.get(name)?.to_str().ok()?.split(';').map(str::trim);
            let count: u64 = parts.next()?.parse().ok()?;
            Some((count, parts.find_map(|part| part.strip_prefix("w=")?.parse().ok())))
        };
        let ((limit, window), (remaining, _)) = (read("ratelimit-limit")?, read("ratelimit-remaining")?);
        Some(Self { limit, remaining, window: window.map(Duration::from_secs) })
    }
}

/// For people: `100 requests in 6 h, of which none is left`.
impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests", self.limit)?;
        match self.window.map(|window| window.as_secs()) {
            Some(seconds) if seconds > 0 && seconds % 3600 == 0 => write!(f, " in {} h", seconds / 3600)?,
            Some(seconds) if seconds > 0 && seconds % 60 == 0 => write!(f, " in {} min", seconds / 60)?,
            Some(seconds) => write!(f, " in {seconds} s")?,
            None => {}
        }
        match self.remaining {
            0 => f.write_str(", of which none is left"),
            left => write!(f, ", of which {left} are left"),
        }
    }
}

/// `Retry-After`: seconds, or a date (RFC 9110 section 10.2.3), which is held against the server's own clock
/// when it tells the time.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok();
    let now = headers.get(DATE).and_then(|now| date(now.to_str().ok()?)).unwrap_or_else(Timestamp::now);
    Some(Duration::try_from(date(text)?.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn pauses_are_seconds_or_dates() {
        let wait = |list: &[_]| retry_after(&headers(list));
        assert_eq!(wait(&[("retry-after", " 7 ")]), Some(Duration::from_secs(7)));
        let date = ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT");
        let now = |text| ("date", text);
        assert_eq!(wait(&[date, now("Sun, 06 Nov 1994 08:49:30 GMT")]), Some(Duration::from_secs(7)));
        assert_eq!(wait(&[date, now("Sun, 06 Nov 1994 08:50:00 GMT")]), Some(Duration::ZERO));
        assert_eq!(wait(&[date, now("yesterday")]), Some(Duration::ZERO));
        for bad in ["", "-1", "soon", "Sun, 06 Nov 1994", "99999999999999999999999"] {
            assert_eq!(wait(&[("retry-after", bad)]), None, "{bad}");
        }
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn limits_are_read() {
        let read = |limit, remaining| {
            RateLimit::of(&headers(&[("ratelimit-limit", limit), ("ratelimit-remaining", remaining)]))
        };
        let expected = RateLimit { limit: 100, remaining: 76, window: Some(Duration::from_secs(21600)) };
        assert_eq!(read("100;w=21600", "76;w=21600"), Some(expected));
        assert_eq!(read("100", "76"), Some(RateLimit { window: None, ..expected }));
        let text = |limit, left| read(limit, left).unwrap().to_string();
        assert_eq!(text("100;w=21600", "0;w=21600"), "100 requests in 6 h, of which none is left");
        assert_eq!(text("100;w=60", "7"), "100 requests in 1 min, of which 7 are left");
        assert_eq!(text("100", "7"), "100 requests, of which 7 are left");
        for bad in ["", "x", "-1", ";w=1"] {
            assert_eq!(read("100", bad), None);
        }
        assert_eq!(RateLimit::of(&HeaderMap::new()), None);
    }
}

//! Limits.

use loment_engine::config::Ulimit;

use super::{invalid, size};
use crate::error::Error;

/// `--memory-swap`: a size, or -1.
pub(in crate::commands) fn swap(text: &str) -> Result<i64, Error> {
    if text == "-1" { Ok(-1) } else { size("memory-swap", text) }
}

/// `--cpus 1.5` as microseconds per 100 ms.
pub(in crate::commands) fn cpus(text: &str) -> Result<i64, Error> {
    match text.parse::<f64>() {
        Ok(n) if (0.001..=4096.0).contains(&n) => Ok((n * 100_000.0).round() as i64),
        _ => invalid(format!("invalid value {text:?} for --cpus: use a number of CPUs such as 1.5")),
    }
}

/// `NAME=SOFT[:HARD]`; -1 is unlimited.
pub(in crate::commands) fn ulimit(text: &str) -> Result<Ulimit, Error> {
    let bad = || Error::Invalid(format!("invalid value {text:?} for --ulimit: use NAME=SOFT[:HARD]"));
    let (name, limits) = text.split_once('=').ok_or_else(bad)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let number = |n: &str| match n {
        "unlimited" => Ok(-1),
        n => n.parse::<i64>().ok().filter(|&n| n >= -1).ok_or_else(bad),
    };
    Ok(Ulimit { name: name.to_ascii_lowercase(), soft: number(soft)?, hard: number(hard)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_or_refused_by_name() {
        assert_eq!(cpus("1.5").unwrap(), 150_000);
        assert!(cpus("0").is_err() && cpus("-1").is_err() && cpus("nan").is_err());
        let u = ulimit("nofile=10:20").unwrap();
        assert_eq!((u.name.as_str(), u.soft, u.hard), ("nofile", 10, 20));
        assert_eq!(ulimit("core=-1").unwrap().hard, -1);
        assert!(ulimit("nofile").is_err() && ulimit("nofile=x").is_err() && ulimit("a=-2").is_err());
    }
}

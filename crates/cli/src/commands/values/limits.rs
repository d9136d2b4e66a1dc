//! Limits.

use loment_engine::config::{DeviceLimit, Ulimit};

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
    let bad = || Error::Invalid(format!("invalid ulimit argument: {text}: use NAME=SOFT[:HARD]"));
    let (name, limits) = text.split_once('=').ok_or_else(bad)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let number = |n: &str| match n {
        "unlimited" => Ok(-1),
        n => n.parse::<i64>().ok().filter(|&n| n >= -1).ok_or_else(bad),
    };
    Ok(Ulimit { name: name.to_ascii_lowercase(), soft: number(soft)?, hard: number(hard)? })
}

/// `DEVICE:LIMIT`
pub(in crate::commands) fn device_limit(flag: &str, text: &str) -> Result<DeviceLimit, Error> {
    let bad = || {
        Error::Invalid(format!("invalid value {text:?} for --{flag}: use DEVICE:NUMBER such as /dev/sda:1mb"))
    };
    let (path, value) = text.rsplit_once(':').filter(|(path, _)| path.starts_with('/')).ok_or_else(bad)?;
    let value = match flag {
        "device-read-bps" | "device-write-bps" => size(flag, value).map_err(|_| bad())?.cast_unsigned(),
        _ => value.parse().map_err(|_| bad())?,
    };
    if flag == "blkio-weight-device" && !(10..=1000).contains(&value) {
        return invalid(format!("invalid value {text:?} for --{flag}: the weight must be from 10 to 1000"));
    }
    Ok(DeviceLimit { path: path.into(), value })
}

/// `FILE=VALUE`
pub(in crate::commands) fn file_value(text: &str) -> Result<(String, String), Error> {
    match text.split_once('=') {
        Some((file, value)) if !file.is_empty() && !file.contains('/') => {
            Ok((file.to_owned(), value.to_owned()))
        }
        _ => invalid(format!(
            "invalid value {text:?} for --cgroup-conf: use FILE=VALUE such as memory.high=1073741824"
        )),
    }
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
        let limit = device_limit("device-read-bps", "/dev/sda:1m").unwrap();
        assert_eq!((limit.path.to_str(), limit.value), (Some("/dev/sda"), 1 << 20));
        for bad in ["sda:1", "/dev/sda", "/dev/sda:", "/dev/sda:x", "/dev/sda:5"] {
            assert!(device_limit("blkio-weight-device", bad).is_err(), "{bad}");
        }
        assert!(
            file_value("memory.high=1").is_ok() && file_value("../x=1").is_err() && file_value("x").is_err()
        );
        assert!(ulimit("nofile").is_err() && ulimit("nofile=x").is_err() && ulimit("a=-2").is_err());
    }
}

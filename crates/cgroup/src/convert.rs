//! From the runtime specification's v1 numbers to v2's.

/// `cpu.shares` (2–262144, default 1024) as `cpu.weight` (1–10000, default 100).
///
/// The quadratic in log2(shares) maps the minimum, the default and the maximum of one scale onto those of the other
/// (runc 1.3.2 and crun 1.23, kubernetes/kubernetes#131216); the older linear formula mapped 1024 to 39.
pub(crate) fn weight_from_shares(shares: u64) -> u64 {
    let l = (shares.clamp(2, 262_144) as f64).log2();
    let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
    (10f64.powf(exponent).ceil() as u64).clamp(1, 10_000)
}

/// A limit that is given: callers write what they leave as it is as 0, with which nothing could live.
pub(crate) fn given<T: Default + PartialEq>(limit: Option<T>) -> Option<T> {
    limit.filter(|l| *l != T::default())
}

/// A limit where -1 means none, as v2 writes it.
pub(crate) fn max_or(limit: i64) -> String {
    if limit < 0 { "max".to_owned() } else { limit.to_string() }
}

/// A process limit: of no process at all, not even the first could be made, so 0 is 1 (as runc has it).
pub(crate) fn pids(limit: i64) -> String {
    max_or(if limit == 0 { 1 } else { limit })
}

/// Refuses a memory limit that is below what is used already (`checkBeforeUpdate`).
pub(crate) fn check_usage(limit: i64, usage: &str) -> Result<(), crate::Error> {
    match usage.trim().parse::<i64>() {
        Ok(used) if used > limit => {
            Err(crate::Error::Value { name: "memory limit (more is in use)", value: limit.to_string() })
        }
        _ => Ok(()),
    }
}

/// v2's swap limit counts swap only, the specification's counts memory and swap.
pub(crate) fn swap_only(swap: i64, memory: Option<i64>) -> Result<String, crate::Error> {
    match (swap, memory) {
        (s, _) if s < 0 => Ok("max".to_owned()),
        (0, _) => Ok("0".to_owned()),
        (s, Some(m)) if m > 0 && s >= m => Ok((s - m).to_string()),
        (s, _) => Err(crate::Error::Value {
            name: "memory and swap (needs a memory limit no larger)",
            value: s.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_map_end_points_and_default() {
        assert_eq!(weight_from_shares(2), 1);
        assert_eq!(weight_from_shares(1024), 100);
        assert_eq!(weight_from_shares(262_144), 10_000);
        assert!(weight_from_shares(2048) > 100);
    }

    #[test]
    fn swap_is_the_difference() {
        assert_eq!(swap_only(300, Some(100)).unwrap(), "200");
        assert_eq!(swap_only(-1, Some(100)).unwrap(), "max");
        assert!(swap_only(50, Some(100)).is_err());
    }
}

//! Signal names.

const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
const ALIASES: [(&str, i32); 3] = [("IOT", 6), ("CLD", 17), ("POLL", 29)];

/// The number of a signal given by name (`TERM`, `sigterm`, `RTMIN+3`) or number.
pub fn parse_signal(text: &str) -> Option<i32> {
    if let Ok(n) = text.parse::<i32>() {
        return (1..=loment_sys::signal::max_signal()).contains(&n).then_some(n);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(i) = NAMES.iter().position(|n| *n == name) {
        return Some(i as i32 + 1);
    }
    if let Some((_, n)) = ALIASES.iter().find(|(a, _)| *a == name) {
        return Some(*n);
    }
    let (low, high) = (loment_sys::signal::min_realtime(), loment_sys::signal::max_signal());
    let n = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => low,
        (_, Some("")) => high,
        (Some(plus), _) => low.checked_add(plus.strip_prefix('+')?.parse().ok()?)?,
        (_, Some(minus)) => high.checked_sub(minus.strip_prefix('-')?.parse().ok()?)?,
        _ => return None,
    };
    (low..=high).contains(&n).then_some(n)
}

/// The name of a signal without SIG; `RTMIN+n` for real-time ones.
pub fn signal_name(number: i32) -> String {
    match usize::try_from(number - 1).ok().and_then(|i| NAMES.get(i)) {
        Some(name) => (*name).to_owned(),
        None => format!("RTMIN+{}", number - loment_sys::signal::min_realtime()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_understood() {
        assert_eq!(parse_signal("TERM"), Some(15));
        assert_eq!(parse_signal("SIGkill"), Some(9));
        assert_eq!(parse_signal("37"), Some(37));
        assert_eq!(parse_signal("RTMIN+3"), Some(37));
        assert_eq!(parse_signal("SIGRTMAX"), Some(64));
        for bad in ["0", "65", "-1", "FOO", "", "RTMIN+99", "RTMIN-1"] {
            assert_eq!(parse_signal(bad), None, "{bad}");
        }
        assert_eq!(signal_name(15), "TERM");
    }
}

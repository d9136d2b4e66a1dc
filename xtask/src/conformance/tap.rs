//! What a program says in the Test Anything Protocol.

use std::fmt;

/// How often it said so, and how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    ok: usize,
    not_ok: usize,
    ended_well: bool,
}

impl Outcome {
    pub(super) fn parse(text: &str, ended_well: bool) -> Self {
        let count = |prefix: &str| text.lines().filter(|l| l.starts_with(prefix)).count();
        Self { ok: count("ok "), not_ok: count("not ok "), ended_well }
    }

    /// More failures, or an end before its time, than a control that came to its end.
    pub(super) fn is_worse_than(&self, control: &Self) -> bool {
        control.ended_well && (self.not_ok > control.not_ok || !self.ended_well)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.ended_well { "" } else { " (failed)" };
        write!(f, "{}/{}{end}", self.ok, self.not_ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted_and_compared() {
        let good = Outcome::parse("TAP version 13\nok 1 - a\nok 2 # SKIP b\n1..2\n", true);
        assert_eq!(good.to_string(), "2/0");
        let bad = Outcome::parse("ok 1 - a\nnot ok 2 - b\n  ---\n", true);
        assert!(bad.is_worse_than(&good) && !good.is_worse_than(&bad) && !good.is_worse_than(&good));
        let cut = Outcome::parse("", false);
        assert!(cut.is_worse_than(&good) && !bad.is_worse_than(&cut));
    }
}

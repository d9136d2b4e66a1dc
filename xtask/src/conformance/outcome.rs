//! What judges say: in the Test Anything Protocol, or in the way of youki's contest.

use std::fmt;

/// How often it said so, and how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    ok: usize,
    not_ok: usize,
    ended_well: bool,
}

impl Outcome {
    /// `ok 1 - description`, `not ok 2 - description`.
    pub(super) fn of_tap(text: &str, ended_well: bool) -> Self {
        let count = |prefix: &str| text.lines().filter(|l| l.starts_with(prefix)).count();
        Self { ok: count("ok "), not_ok: count("not ok "), ended_well }
    }

    /// `1 / 2 : name : ok`, `2 / 2 : name : not ok`.
    pub(super) fn of_contest(text: &str, ended_well: bool) -> Self {
        let results = || text.lines().filter(|l| l.starts_with(|c: char| c.is_ascii_digit()));
        let count = |end: &str| results().filter(|l| l.ends_with(end)).count();
        Self { ok: count(" : ok"), not_ok: count(" : not ok"), ended_well }
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
        let good = Outcome::of_tap("TAP version 13\nok 1 - a\nok 2 # SKIP b\n1..2\n", true);
        assert_eq!(good.to_string(), "2/0");
        let bad = Outcome::of_tap("ok 1 - a\nnot ok 2 - b\n  ---\n", true);
        assert!(bad.is_worse_than(&good) && !good.is_worse_than(&bad) && !good.is_worse_than(&good));
        let text = "# Start group x\n1 / 2 : one : ok\n2 / 2 : two : not ok\n\tsaid : ok\n# End group x\n";
        assert_eq!(Outcome::of_contest(text, true).to_string(), "1/1");
        let cut = Outcome::of_tap("", false);
        assert!(cut.is_worse_than(&good) && !bad.is_worse_than(&cut));
    }
}

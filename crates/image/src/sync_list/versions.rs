//! Ranges of versions, as skopeo has them: those of github.com/Masterminds/semver, whose README is their definition, with what it
//! says of releases that are not final.
//!
//! `>=1.2, <2 || ~3.1` is one of two: a comma or a space is "and". A version may lack its last numbers and begin with `v`; `x`, `X` and
//! `*` are any number. `1.2 - 3` is `>=1.2 <=3`.

use std::cmp::Ordering;
use std::str::FromStr;

/// A range of versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions(Vec<Vec<Condition>>);

/// What is no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("improper constraint {0:?}: write conditions such as >=1.2 or ~2.0, with a comma for and, || for or")]
pub struct ImproperRange(String);

/// A version: build metadata says nothing about its place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    numbers: [u64; 3],
    /// What comes after `-`; empty for a final release.
    pre: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    Tilde,
    Caret,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    operator: Operator,
    version: Version,
    /// How many of its numbers are said.
    said: usize,
}

impl FromStr for Versions {
    type Err = ImproperRange;

    fn from_str(text: &str) -> Result<Self, ImproperRange> {
        let improper = || ImproperRange(text.to_owned());
        let all = text.split("||").map(all_of).collect::<Option<_>>();
        all.map(Self).ok_or_else(improper)
    }
}

impl Versions {
    /// Whether a tag is a version of this range. One that is no version is not.
    ///
    /// A release that is not final is one of a range only if a version in it, between two `||`, is not final either.
    pub fn include(&self, tag: &str) -> bool {
        let Some(version) = Version::parse(tag) else { return false };
        self.0.iter().any(|all| {
            let unfinished = all.iter().any(|condition| !condition.version.pre.is_empty());
            (version.pre.is_empty() || unfinished) && all.iter().all(|condition| condition.holds(&version))
        })
    }
}

/// The conditions between two `||`.
fn all_of(text: &str) -> Option<Vec<Condition>> {
    let mut conditions = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    loop {
        let (operator, after) = operator(rest);
        let (first, after) = version(after.trim_start_matches(is_space))?;
        rest = after.trim_start_matches(is_space);
        let spaced = rest.len() < after.len();
        match rest.strip_prefix('-').filter(|upper| spaced && upper.starts_with(is_space)) {
            Some(upper) if operator.is_none() => {
                let (last, after) = version(upper.trim_start_matches(is_space))?;
                conditions.push(Condition::new(Operator::GreaterEqual, first)?);
                conditions.push(Condition::new(Operator::LessEqual, last)?);
                rest = after;
            }
            _ => {
                conditions.push(Condition::new(operator.unwrap_or(Operator::Equal), first)?);
                rest = after;
            }
        }
        let next = rest.trim_start_matches(is_space);
        if next.is_empty() {
            return Some(conditions);
        }
        rest = match next.strip_prefix(',') {
            Some(next) => next.trim_start_matches(is_space),
            None if next.len() < rest.len() => next,
            None => return None,
        };
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c')
}

fn operator(text: &str) -> (Option<Operator>, &str) {
    let operators = [
        ("!=", Operator::NotEqual),
        (">=", Operator::GreaterEqual),
        ("=>", Operator::GreaterEqual),
        ("<=", Operator::LessEqual),
        ("=<", Operator::LessEqual),
        ("~>", Operator::Tilde),
        ("=", Operator::Equal),
        (">", Operator::Greater),
        ("<", Operator::Less),
        ("~", Operator::Tilde),
        ("^", Operator::Caret),
    ];
    let found = operators.iter().find_map(|(name, operator)| Some((*operator, text.strip_prefix(name)?)));
    found.map_or((None, text), |(operator, rest)| (Some(operator), rest))
}

/// The text of a version at the beginning, and the rest.
fn version(text: &str) -> Option<(&str, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-.+*".contains(c);
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

impl Condition {
    fn new(operator: Operator, text: &str) -> Option<Self> {
        let is_any = |part: &str| matches!(part, "x" | "X" | "*");
        let (numbers, pre, _) = split(text)?;
        let said = numbers.iter().position(|part| is_any(part)).unwrap_or(numbers.len());
        // What comes after one that may be any must be a number or any, but says nothing.
        let known = |part: &str| is_any(part) || part.parse::<u64>().is_ok();
        if !numbers.iter().all(|part| known(part)) {
            return None;
        }
        let mut version = Version { numbers: [0; 3], pre: pre.to_owned() };
        for (number, text) in version.numbers.iter_mut().zip(&numbers[..said]) {
            *number = text.parse().ok()?;
        }
        Some(Self { operator, version, said })
    }

    /// Whether a version fulfils this; releases that are not final have been dealt with.
    fn holds(&self, version: &Version) -> bool {
        let ([major, minor, patch], [own_major, own_minor, own_patch]) =
            (version.numbers, self.version.numbers);
        let order = version.compare(&self.version);
        match self.operator {
            Operator::Equal if self.said == 3 => order == Ordering::Equal,
            Operator::Equal | Operator::Tilde => {
                // What says nothing at all, and what says 0.0.0, is any.
                let any = self.version.numbers == [0; 3] && (self.said == 0 || self.said == 3);
                let same = major == own_major && (minor == own_minor || self.said == 1);
                order != Ordering::Less && (any || same)
            }
            Operator::NotEqual => match self.said {
                1 => major != own_major,
                2 => {
                    major != own_major
                        || minor != own_minor
                        || compare_pre(&version.pre, &self.version.pre) != Ordering::Equal
                }
                _ => order != Ordering::Equal,
            },
            Operator::Greater => match self.said {
                1 => major > own_major,
                2 => (major, minor) > (own_major, own_minor),
                _ => order == Ordering::Greater,
            },
            Operator::Less => order == Ordering::Less,
            Operator::GreaterEqual => order != Ordering::Less,
            Operator::LessEqual => match self.said {
                3 => order != Ordering::Greater,
                1 => major <= own_major,
                _ => (major, minor) <= (own_major, own_minor),
            },
            Operator::Caret => {
                let same = if own_major > 0 || self.said == 1 {
                    major == own_major
                } else if own_minor > 0 || self.said == 2 {
                    major == 0 && minor == own_minor
                } else {
                    (major, minor, patch) == (0, 0, own_patch)
                };
                order != Ordering::Less && same
            }
        }
    }
}

/// The numbers of a version as they are written, what comes after `-`, and what after `+`.
fn split(text: &str) -> Option<(Vec<&str>, &str, &str)> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let (pre, build) = match rest.strip_prefix('-') {
        Some(rest) => {
            let (pre, build) = rest.split_once('+').map_or((rest, None), |(pre, build)| (pre, Some(build)));
            (Some(pre), build)
        }
        None => (None, rest.strip_prefix('+')),
    };
    let numbers: Vec<&str> = numbers.split('.').collect();
    let words = |text: &str| {
        let word =
            |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        text.split('.').all(word)
    };
    let leads_with_zero = |word: &str| word.len() > 1 && word.starts_with('0') && is_number(word);
    let sound = numbers.len() <= 3
        && pre.is_none_or(|pre| words(pre) && !pre.split('.').any(leads_with_zero))
        && build.is_none_or(words);
    sound.then(|| (numbers, pre.unwrap_or_default(), build.unwrap_or_default()))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

impl Version {
    /// Leading zeros and missing numbers are put up with, as Masterminds' `NewVersion` does.
    fn parse(text: &str) -> Option<Self> {
        let (texts, pre, _) = split(text)?;
        let mut numbers = [0; 3];
        for (number, text) in numbers.iter_mut().zip(texts) {
            *number = text.parse().ok().filter(|_| is_number(text))?;
        }
        Some(Self { numbers, pre: pre.to_owned() })
    }

    /// Semantic Versioning 2.0.0, section 11.
    fn compare(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => compare_pre(&self.pre, &other.pre),
        })
    }
}

fn compare_pre(one: &str, other: &str) -> Ordering {
    let word = |one: &str, other: &str| match (one.parse::<u64>().ok(), other.parse::<u64>().ok()) {
        (Some(one), Some(other)) => one.cmp(&other),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => one.cmp(other),
    };
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) => match word(a, b) {
                Ordering::Equal => {}
                unequal => return unequal,
            },
        }
    }
}

#[cfg(test)]
#[path = "versions_tests.rs"]
mod tests;

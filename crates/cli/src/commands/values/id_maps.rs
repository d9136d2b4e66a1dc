//! `--uidmap` and `--gidmap`, with the flags that Podman has for them (podman-run(1), "--uidmap").

use loment_sys::ids::{IdMap, IdRange};
use loment_sys::process::is_in_user_namespace;

use crate::error::Error;

/// Whose ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Users.
    User,
    /// Groups.
    Group,
}

impl Kind {
    fn flag(self) -> &'static str {
        match self {
            Self::User => "--uidmap",
            Self::Group => "--gidmap",
        }
    }

    /// Those that this program can give.
    fn own(self) -> IdMap {
        match self {
            Self::User => IdMap::own_users(),
            Self::Group => IdMap::own_groups(),
        }
    }
}

/// One value of a flag: `[FLAGS]CONTAINER:[@]HOST[:NUMBER]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    range: IdRange,
    /// `@`: the second number is one of the machine, also where others are behind that.
    of_machine: bool,
    /// `+`: it is added to what is usual.
    adds: bool,
    /// `u` and `g`: whose it is; without both, of the kind of the flag, and of the other kind where that has none.
    said: [bool; 2],
}

/// Users and groups, if anything is said of them.
pub(super) fn read(uids: &[String], gids: &[String]) -> Result<Option<(IdMap, IdMap)>, Error> {
    let entries = |kind: Kind, texts: &[String]| -> Result<Vec<Entry>, Error> {
        let entry = |text: &String| parse(text).ok_or_else(|| invalid(kind, text));
        texts.iter().map(entry).collect()
    };
    let (users, groups) = (entries(Kind::User, uids)?, entries(Kind::Group, gids)?);
    if users.is_empty() && groups.is_empty() {
        return Ok(None);
    }
    // Of the list for the same kind, and then of the other.
    let of = |kind: usize, same: &[Entry], others: &[Entry]| -> Vec<Entry> {
        let of_same = same.iter().filter(|entry| entry.said == [false, false] || entry.said[kind]);
        let alone = same.is_empty();
        let of_others = others.iter().filter(|entry| match entry.said {
            [false, false] => alone,
            said => said[kind],
        });
        of_same.chain(of_others).copied().collect()
    };
    let (users, groups) = (of(0, &users, &groups), of(1, &groups, &users));
    Ok(Some((map(Kind::User, &users)?, map(Kind::Group, &groups)?)))
}

/// A value without flags, but for `@`.
pub(super) fn plain(kind: Kind, text: &str) -> Option<IdRange> {
    let entry = parse(text).filter(|entry| !entry.adds && entry.said == [false, false])?;
    match resolve(kind, &entry)?.ranges() {
        &[range] => Some(range),
        _ => None,
    }
}

/// Ids of the machine, as this program numbers them; `None` where it has not all of them.
pub(super) fn from_machine(kind: Kind, map: &IdMap) -> Option<IdMap> {
    let turned = |r: &IdRange| IdRange { inside: r.outside, outside: r.inside, size: r.size };
    match is_in_user_namespace() {
        true => map.through(&IdMap::new(kind.own().ranges().iter().map(turned).collect())),
        false => Some(map.clone()),
    }
}

fn parse(text: &str) -> Option<Entry> {
    let numbers = text.trim_start_matches(['+', 'u', 'g']);
    let flags = &text[..text.len() - numbers.len()];
    let number = |text: &str| text.parse::<u32>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    let mut words = numbers.split(':');
    let (inside, outside) = (number(words.next()?)?, words.next()?);
    let of_machine = outside.starts_with('@');
    let outside = number(outside.strip_prefix('@').unwrap_or(outside))?;
    let size = words.next().map_or(Some(1), number)?;
    let range = IdRange { inside, outside, size };
    let has = |flag| flags.contains(flag);
    let entry = Entry { range, of_machine, adds: has('+'), said: [has('u'), has('g')] };
    (words.next().is_none() && range.is_valid()).then_some(entry)
}

fn resolve(kind: Kind, entry: &Entry) -> Option<IdMap> {
    let map = IdMap::new(vec![entry.range]);
    if entry.of_machine { from_machine(kind, &map) } else { Some(map) }
}

fn map(kind: Kind, entries: &[Entry]) -> Result<IdMap, Error> {
    let mut ranges = Vec::new();
    // What is added is added to what is said, or else to everybody as they are.
    if entries.iter().all(|entry| entry.adds) {
        ranges.push(IdRange::same(0, u32::try_from(kind.own().count()).unwrap_or(u32::MAX)));
    }
    let (added, said): (Vec<Entry>, Vec<Entry>) = entries.iter().partition(|entry| entry.adds);
    for entry in said.iter().chain(&added) {
        let new = resolve(kind, entry).ok_or_else(|| {
            let flag = kind.flag();
            let IdRange { outside, size, .. } = entry.range;
            Error::Invalid(format!(
                "{flag}: not all of {size} ids from @{outside} on are yours: see /etc/subuid and /etc/subgid"
            ))
        })?;
        for new in new.ranges() {
            if entry.adds {
                ranges = ranges.into_iter().flat_map(|old| apart(old, *new)).collect();
            }
            ranges.push(*new);
        }
    }
    ranges.sort_by_key(|range| range.inside);
    Ok(IdMap::new(ranges))
}

/// What is left of a range without the ids that another has, on either side.
fn apart(old: IdRange, new: IdRange) -> Vec<IdRange> {
    let cut = |old: IdRange, start: u32, first: u32| {
        let (start, first) = (u64::from(start), u64::from(first));
        let end = first + u64::from(new.size);
        let before = first.saturating_sub(start).min(old.size.into());
        let skipped = end.saturating_sub(start).clamp(before, old.size.into());
        let piece = |from: u64, to: u64| IdRange {
            inside: old.inside + from as u32,
            outside: old.outside + from as u32,
            size: (to - from) as u32,
        };
        [piece(0, before), piece(skipped, old.size.into())]
    };
    let inside = cut(old, old.inside, new.inside).into_iter().filter(|left| left.size > 0);
    let both = inside.flat_map(|left| cut(left, left.outside, new.outside));
    both.filter(|left| left.size > 0).collect()
}

fn invalid(kind: Kind, text: &str) -> Error {
    let flag = kind.flag().trim_start_matches('-');
    Error::Invalid(format!("invalid value {text:?} for {flag}: use CONTAINER:HOST:NUMBER"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(uids: &[&str], gids: &[&str]) -> (String, String) {
        let own = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let (users, groups) = super::read(&own(uids), &own(gids)).unwrap().unwrap();
        (users.to_string(), groups.to_string())
    }

    #[test]
    fn one_list_counts_for_both_kinds_unless_it_says_whose_it_is() {
        let both = |text: &str| (text.to_owned(), text.to_owned());
        assert_eq!(read(&["0:1000:10"], &[]), both("0:1000:10"));
        assert_eq!(read(&[], &["0:1000:10", "10:7"]), both("0:1000:10,10:7:1"));
        assert_eq!(read(&["0:1000:10"], &["0:5:1"]), ("0:1000:10".into(), "0:5:1".into()));
        assert_eq!(read(&["0:1:9", "ug20:30"], &["0:5"]).1, "0:5:1,20:30:1");
    }

    #[test]
    fn what_is_added_takes_the_place_of_what_is_usual() {
        let all = u32::MAX;
        assert_eq!(read(&["+u5:5:1"], &["0:5"]).0, format!("0:0:5,5:5:1,6:6:{}", all - 6));
        assert_eq!(read(&["0:100:10", "+3:105:1"], &[]).0, "0:100:3,3:105:1,4:104:1,6:106:4");
    }

    #[test]
    fn ranges_have_no_id_twice_on_either_side() {
        let range = |inside, outside, size| IdRange { inside, outside, size };
        let apart = |old, new| IdMap::new(apart(old, new)).to_string();
        assert_eq!(apart(range(0, 0, 10), range(20, 20, 5)), "0:0:10");
        assert_eq!(apart(range(0, 0, 10), range(2, 7, 2)), "0:0:2,4:4:3,9:9:1");
        assert_eq!(apart(range(5, 50, 3), range(0, 0, 100)), "");
    }

    #[test]
    fn what_is_no_mapping_is_refused() {
        for bad in ["", "1", "1:2:0", "1:2:3:4", "a:b", "+:1", "1:@", "x1:2", "1:4294967295:1", "1:-2"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        let entry = parse("+g1:@2:3").unwrap();
        assert!(entry.adds && entry.of_machine && entry.said == [false, true]);
        assert_eq!(plain(Kind::User, "1:2:3"), Some(IdRange { inside: 1, outside: 2, size: 3 }));
        assert_eq!(plain(Kind::User, "+1:2:3"), None);
    }
}

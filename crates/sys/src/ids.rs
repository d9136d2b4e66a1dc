//! Which users or groups of a user namespace are which outside of it (user_namespaces(7), "User and group ID mappings").

use std::fmt;
use std::path::Path;

/// What the kernel shows of a user or group that a namespace does not have (`/proc/sys/kernel/overflowuid`).
pub const NOBODY: u32 = 65534;

/// Ids that follow each other on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// The first, in the namespace.
    pub inside: u32,
    /// The first, outside.
    pub outside: u32,
    /// How many.
    pub size: u32,
}

impl IdRange {
    /// Ids that are the same on both sides.
    pub const fn same(first: u32, size: u32) -> Self {
        Self { inside: first, outside: first, size }
    }

    /// Who somebody outside is in the namespace.
    pub fn inside(self, id: u32) -> Option<u32> {
        self.inside.checked_add(id.checked_sub(self.outside).filter(|&offset| offset < self.size)?)
    }

    /// Who somebody of the namespace is outside.
    pub fn outside(self, id: u32) -> Option<u32> {
        self.outside.checked_add(id.checked_sub(self.inside).filter(|&offset| offset < self.size)?)
    }

    /// Whether it has ids, and only such as there are: 4294967295 is nobody's on either side.
    pub fn is_valid(self) -> bool {
        self.size > 0
            && [self.inside, self.outside].iter().all(|first| first.checked_add(self.size).is_some())
    }
}

/// Ranges of ids of a user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap(Vec<IdRange>);

impl IdMap {
    /// One with these ranges.
    pub fn new(ranges: Vec<IdRange>) -> Self {
        Self(ranges)
    }

    /// Reads the lines of `/proc/PID/uid_map` and `gid_map`; what is none is passed over.
    pub fn parse(text: &str) -> Self {
        let range = |line: &str| {
            let numbers: Vec<u32> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
            let [inside, outside, size] = numbers.try_into().ok()?;
            Some(IdRange { inside, outside, size })
        };
        Self(text.lines().filter_map(range).collect())
    }

    /// Users of the namespace that this process is in.
    pub fn own_users() -> Self {
        Self::read(Path::new("/proc/self/uid_map"))
    }

    /// Groups of the namespace that this process is in.
    pub fn own_groups() -> Self {
        Self::read(Path::new("/proc/self/gid_map"))
    }

    /// Those of such a file of a process; none where it cannot be read.
    pub fn read(file: &Path) -> Self {
        std::fs::read_to_string(file).map(|text| Self::parse(&text)).unwrap_or_default()
    }

    /// Its ranges.
    pub fn ranges(&self) -> &[IdRange] {
        &self.0
    }

    /// Who somebody outside is in the namespace.
    pub fn inside(&self, id: u32) -> Option<u32> {
        self.0.iter().find_map(|range| range.inside(id))
    }

    /// Who somebody of the namespace is outside.
    pub fn outside(&self, id: u32) -> Option<u32> {
        self.0.iter().find_map(|range| range.outside(id))
    }

    /// How many ids the namespace has.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|range| u64::from(range.size)).sum()
    }

    /// Whether all ids are the same on both sides, as in the machine's first namespace.
    pub fn is_the_machines(&self) -> bool {
        self.0 == [IdRange::same(0, u32::MAX)]
    }

    /// The same ranges, none of which has ids of two ranges of `outer`, the namespace around this one: the kernel takes no other.
    /// `None` where that lacks some.
    pub fn cut(&self, outer: &Self) -> Option<Self> {
        self.pieces(outer, |piece, _| piece)
    }

    /// Who its ids are outside of `outer`, the namespace around this one; `None` where that lacks some.
    pub fn through(&self, outer: &Self) -> Option<Self> {
        self.pieces(outer, |piece, outside| IdRange { outside, ..piece })
    }

    fn pieces(&self, outer: &Self, piece: impl Fn(IdRange, u32) -> IdRange) -> Option<Self> {
        let mut pieces = Vec::new();
        for range in &self.0 {
            let mut left = *range;
            while left.size > 0 {
                let (around, first) = outer.0.iter().find_map(|r| Some((r, r.outside(left.outside)?)))?;
                let size = left.size.min(around.size - (left.outside - around.inside));
                first.checked_add(size)?;
                pieces.push(piece(IdRange { size, ..left }, first));
                let next = |first: u32| first.saturating_add(size);
                left = IdRange {
                    inside: next(left.inside),
                    outside: next(left.outside),
                    size: left.size - size,
                };
            }
        }
        Some(Self(pieces))
    }
}

impl fmt::Display for IdMap {
    /// `INSIDE:OUTSIDE:SIZE`, separated by commas.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, IdRange { inside, outside, size }) in self.0.iter().enumerate() {
            write!(f, "{}{inside}:{outside}:{size}", if n > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(ranges: &[[u32; 3]]) -> IdMap {
        let range = |&[inside, outside, size]: &[u32; 3]| IdRange { inside, outside, size };
        IdMap::new(ranges.iter().map(range).collect())
    }

    #[test]
    fn ids_have_numbers_on_both_sides() {
        let read =
            IdMap::parse("         0     100000       1000\n      2000          5          1\nx\n1 2\n");
        assert_eq!(read, map(&[[0, 100_000, 1000], [2000, 5, 1]]));
        assert_eq!([100_000, 100_999, 5].map(|id| read.inside(id)), [Some(0), Some(999), Some(2000)]);
        assert_eq!([0, 101_000, 4].map(|id| read.inside(id)), [None; 3]);
        assert_eq!([0, 2000, 1000].map(|id| read.outside(id)), [Some(100_000), Some(5), None]);
        assert_eq!((read.count(), read.to_string()), (1001, "0:100000:1000,2000:5:1".into()));
    }

    #[test]
    fn a_range_is_cut_where_ranges_around_it_meet() {
        let outer = map(&[[0, 1000, 1], [1, 100_000, 10], [11, 300_000, 10]]);
        let inner = map(&[[0, 1, 5], [5, 0, 1], [6, 6, 12]]);
        assert_eq!(inner.cut(&outer).unwrap(), map(&[[0, 1, 5], [5, 0, 1], [6, 6, 5], [11, 11, 7]]));
        let host = map(&[[0, 100_000, 5], [5, 1000, 1], [6, 100_005, 5], [11, 300_000, 7]]);
        assert_eq!(inner.through(&outer).unwrap(), host);
        assert_eq!(map(&[[0, 20, 2]]).cut(&outer), None);
    }

    #[test]
    fn the_last_number_is_nobodys() {
        assert!(IdRange::same(0, u32::MAX).is_valid());
        assert!(!IdRange::same(1, u32::MAX).is_valid() && !IdRange::same(5, 0).is_valid());
    }
}

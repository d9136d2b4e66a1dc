//! Which ids a user has: their own, and those of /etc/subuid and /etc/subgid.

use std::path::Path;

use loment_engine::config::IdMapping;

/// The ranges of a name, in a text of `NAME:FIRST:NUMBER` lines (subuid(5)). Lines that are none are passed over, as
/// newuidmap(1) does.
pub(crate) fn ranges<'t>(text: &'t str, name: &'t str) -> impl Iterator<Item = (u32, u32)> + 't {
    let of_name = text.lines().filter_map(move |line| line.strip_prefix(name)?.strip_prefix(':'));
    of_name.filter_map(|rest| {
        let (first, size) = rest.split_once(':')?;
        let (first, size): (u32, u32) = (first.parse().ok()?, size.trim().parse().ok()?);
        (size > 0 && first.checked_add(size).is_some()).then_some((first, size))
    })
}

/// The name of a user, in a text of `NAME:PASSWORD:UID:…` lines (passwd(5)).
pub(crate) fn name_of(text: &str, uid: u32) -> Option<&str> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid)).then_some(name)
    })
}

/// The user or group `own` as 0, and all that the file gives that user, by name or number, behind it; `None` where it gives nothing.
pub(super) fn with_ranges(file: &Path, (uid, name): (u32, Option<&str>), own: u32) -> Option<Vec<IdMapping>> {
    let text = std::fs::read_to_string(file).ok()?;
    let number = uid.to_string();
    let mut all = vec![IdMapping { container_id: 0, host_id: own, size: 1 }];
    let mut next = 1_u32;
    for name in name.into_iter().chain([number.as_str()]) {
        for (host_id, size) in ranges(&text, name) {
            all.push(IdMapping { container_id: next, host_id, size });
            next = next.saturating_add(size);
        }
    }
    (all.len() > 1).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_ranges_of_its_lines() {
        let text = "# x\nann:100000:65536\nanna:1:2\nann:5\nann:300000:1\nann:9:0\nann:4294967295:2\n";
        assert_eq!(ranges(text, "ann").collect::<Vec<_>>(), [(100_000, 65536), (300_000, 1)]);
        assert_eq!(ranges(text, "an").count(), 0);
    }

    #[test]
    fn a_user_is_root_and_has_what_the_file_gives() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("subuid");
        std::fs::write(&file, "ann:100000:65536\n1000:300000:10\nbob:5:5\n").unwrap();
        let of = |uid, name| -> Option<Vec<_>> {
            let all = with_ranges(&file, (uid, name), uid)?;
            Some(all.iter().map(|map| (map.container_id, map.host_id, map.size)).collect())
        };
        let all = [(0, 1000, 1), (1, 100_000, 65536), (65537, 300_000, 10)];
        assert_eq!(of(1000, Some("ann")).unwrap(), all);
        assert_eq!(of(1000, None).unwrap(), [(0, 1000, 1), (1, 300_000, 10)]);
        assert_eq!(of(7, Some("eve")), None);
        assert_eq!(name_of("root:x:0:0::/root:/bin/sh\nann:x:1000:1000\n", 1000), Some("ann"));
    }
}

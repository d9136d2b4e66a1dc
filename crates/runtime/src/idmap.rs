//! Mounts whose files have other owners: by the mount's own mappings (config.md, "mounts", uidMappings), by those of the
//! container's user namespace, or by crun's option `idmap=uids=…;gids=…` (crun(1), "idmap mount options").

use loment_sys::ids::{IdMap, IdRange};
use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxIdMappingBuilder, Mount};

use crate::Error;
use crate::error::invalid;
use crate::namespaces::Mappings;
use crate::options::Options;

/// Other owners for the files of a mount.
#[derive(Debug)]
pub(crate) struct OtherOwners {
    /// `None`: those of the container's user namespace.
    pub(crate) mappings: Option<Mappings>,
    /// Also for mounts below.
    pub(crate) recursive: bool,
}

impl OtherOwners {
    /// Ids are mapped when the mount has mappings of its own, or an option that asks for the container's; `users` tells whether
    /// that has a user namespace.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the mount.
    pub(crate) fn new(
        m: &Mount,
        options: &Options,
        is_bind: bool,
        users: bool,
        linux: &Linux,
    ) -> Result<Option<Self>, Error> {
        let owner = format!("mount {}", m.destination().display());
        let mut mappings = Mappings::new(&owner, m.uid_mappings().as_deref(), m.gid_mappings().as_deref())?;
        if let Some(text) = &options.id_mappings {
            if mappings.is_some() {
                return Err(invalid(owner, "it has uidMappings and mappings in an option"));
            }
            let container = Lists { uids: linux.uid_mappings().clone(), gids: linux.gid_mappings().clone() };
            let lists = parse(text, &container)
                .map_err(|reason| invalid(&owner, format!("option idmap={text}: {reason}")))?;
            mappings = Mappings::new(&owner, lists.uids.as_deref(), lists.gids.as_deref())?;
        }
        if mappings.is_none() && options.idmap.is_none() {
            return Ok(None);
        }
        if !is_bind {
            return Err(invalid(owner, "only bind mounts can map ids"));
        }
        if mappings.is_none() && !users {
            return Err(invalid(owner, "idmap without uidMappings and gidMappings needs a user namespace"));
        }
        Ok(Some(Self { mappings, recursive: options.idmap.unwrap_or(false) }))
    }
}

/// Mappings of users and of groups.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    pub(crate) uids: Option<Vec<LinuxIdMapping>>,
    pub(crate) gids: Option<Vec<LinuxIdMapping>>,
}

/// What follows `idmap=`: lists `uids=` and `gids=`, separated by `;`, of `FILE-SYSTEM-ID-HOST-ID-SIZE` separated by `#`. After
/// an `@` the second number is an id of the container's user namespace.
pub(crate) fn parse(text: &str, container: &Lists) -> Result<Lists, String> {
    let mut lists = Lists::default();
    for list in text.split(';') {
        let (place, mappings, outside) = match list.split_once('=') {
            Some(("uids", mappings)) => (&mut lists.uids, mappings, &container.uids),
            Some(("gids", mappings)) => (&mut lists.gids, mappings, &container.gids),
            _ => return Err(format!("{list:?} is neither uids=… nor gids=…")),
        };
        if place.is_some() {
            return Err(format!("{list:?} is the second of its kind"));
        }
        let mut out = Vec::new();
        for mapping in mappings.split('#') {
            match mapping.strip_prefix('@') {
                None => out.push(range(mapping)?),
                Some(relative) => {
                    let container = map(outside.as_deref().unwrap_or_default());
                    let ranges = IdMap::new(vec![range(relative)?]).through(&container);
                    let ranges = ranges.ok_or_else(|| {
                        format!("{mapping:?} has ids that the container's user namespace does not map")
                    })?;
                    out.extend(ranges.ranges());
                }
            }
        }
        *place = Some(out.iter().map(line).collect());
    }
    match (&lists.uids, &lists.gids) {
        (Some(_), Some(_)) => Ok(lists),
        _ => Err("it needs uids and gids".to_owned()),
    }
}

fn range(text: &str) -> Result<IdRange, String> {
    let number = |text: &str| text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    let numbers: Option<Vec<u32>> = text.split('-').map(number).collect();
    let range = match numbers.as_deref() {
        Some(&[inside, outside, size]) => Some(IdRange { inside, outside, size }),
        _ => None,
    };
    range.filter(|range| range.is_valid()).ok_or_else(|| format!("{text:?} is not ID-ID-SIZE"))
}

fn line(range: &IdRange) -> LinuxIdMapping {
    let line = LinuxIdMappingBuilder::default();
    line.container_id(range.inside)
        .host_id(range.outside)
        .size(range.size)
        .build()
        .expect("every field is set")
}

/// The ids of a specification's lines.
pub fn map(lines: &[LinuxIdMapping]) -> IdMap {
    let range =
        |m: &LinuxIdMapping| IdRange { inside: m.container_id(), outside: m.host_id(), size: m.size() };
    IdMap::new(lines.iter().map(range).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line([inside, outside, size]: [u32; 3]) -> LinuxIdMapping {
        super::line(&IdRange { inside, outside, size })
    }

    fn numbers(list: &Option<Vec<LinuxIdMapping>>) -> Vec<[u32; 3]> {
        list.iter().flatten().map(|m| [m.container_id(), m.host_id(), m.size()]).collect()
    }

    #[test]
    fn lists_of_users_and_groups_are_read() {
        let lists = parse("uids=0-1-10#10-11-10;gids=0-100-10", &Lists::default()).unwrap();
        assert_eq!(numbers(&lists.uids), [[0, 1, 10], [10, 11, 10]]);
        assert_eq!(numbers(&lists.gids), [[0, 100, 10]]);
    }

    #[test]
    fn relative_ids_go_through_the_containers_mappings() {
        let container = Lists {
            uids: Some(vec![line([0, 0, 1]), line([1, 2, 1000])]),
            gids: Some(vec![line([0, 500, 10])]),
        };
        // The example of crun's manual.
        let lists = parse("uids=@1-3-10;gids=@0-0-1#5-5-1", &container).unwrap();
        assert_eq!(numbers(&lists.uids), [[1, 4, 10]]);
        assert_eq!(numbers(&lists.gids), [[0, 500, 1], [5, 5, 1]]);
        // One that spans two lines is cut where they meet.
        let lists = parse("uids=@7-0-5;gids=@0-1-2", &container).unwrap();
        assert_eq!(numbers(&lists.uids), [[7, 0, 1], [8, 2, 4]]);
        for beyond in ["uids=@0-1000-2;gids=0-0-1", "uids=0-0-1;gids=@0-10-1", "uids=@0-2000-1;gids=0-0-1"] {
            assert!(parse(beyond, &container).unwrap_err().contains("does not map"), "{beyond}");
        }
        assert!(parse("uids=@0-0-1;gids=@0-0-1", &Lists::default()).is_err());
    }

    #[test]
    fn what_is_no_mapping_is_refused() {
        for bad in [
            "",
            "uids=0-0-1",
            "gids=0-0-1",
            "uids=;gids=0-0-1",
            "uids=0-0;gids=0-0-1",
            "uids=0-0-1-2;gids=0-0-1",
            "uids=0-0-0;gids=0-0-1",
            "uids=+0-0-1;gids=0-0-1",
            "uids=0--0-1;gids=0-0-1",
            "uids=0-0-4294967296;gids=0-0-1",
            "uids=1-0-4294967295;gids=0-0-1",
            "uids=0-0-1#;gids=0-0-1",
            "uids=0-0-1;gids=0-0-1;",
            "uids=0-0-1;uids=1-1-1;gids=0-0-1",
            "sids=0-0-1;gids=0-0-1",
            "uids=@@0-0-1;gids=0-0-1",
        ] {
            assert!(parse(bad, &Lists::default()).is_err(), "{bad:?}");
        }
    }
}

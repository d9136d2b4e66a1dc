//! Users and groups of a user namespace.

use loment_engine::AutoUsers;
use loment_engine::config::{IdMapping, Namespace, Users};
use loment_sys::ids::{IdMap, IdRange};

use super::id_maps::{self, Kind};
use super::namespace::other;
use crate::error::{Doing, Error};
use crate::rootless::{self, ranges};

/// Whose users a container has.
pub(in crate::commands) enum UsersMode {
    /// Its own, if it has any: those that are said, else those of who runs it.
    Own(Option<Users>),
    /// Its own, which nobody else has.
    Auto(AutoUsers),
    /// Others'.
    Shared(Namespace),
}

/// The user of the files /etc/subuid and /etc/subgid for whose ids containers of root are given some of their own. The name is Podman's.
const POOL: &str = "containers";
/// Where there are none: the upper half of all ids.
const USUAL_POOL: (u32, u32) = (1 << 31, (1 << 31) - 2);

/// What `--userns` says. `mapped`: who the users are, if other flags say so.
pub(in crate::commands) fn mode(text: Option<&str>, mapped: Option<Users>) -> Result<UsersMode, Error> {
    let text = text.unwrap_or_default();
    let (word, options) = text.split_once(':').unwrap_or((text, ""));
    match (word, mapped) {
        ("" | "private", Some(users)) => Ok(UsersMode::Own(Some(users))),
        ("" | "host", None) => Ok(UsersMode::Own(None)),
        ("private", None) => Err(Error::Invalid(
            "--userns private needs to know who the users are: add --uidmap or --subuidname".into(),
        )),
        (_, Some(_)) => Err(Error::Invalid(format!(
            "--userns {text} excludes --uidmap, --gidmap, --subuidname and --subgidname: leave them out"
        ))),
        ("keep-id", None) => kept(text, options).map(UsersMode::Own),
        ("nomap", None) if options.is_empty() => {
            if !rootless::is_rootless() {
                // Podman's words.
                return Err(Error::Invalid("nomap is only supported in rootless mode".into()));
            }
            let (users, groups) = behind("nomap")?;
            let all = |size| IdMap::new(vec![IdRange { inside: 0, outside: 1, size }]);
            Ok(UsersMode::Own(Some(Users::new(&all(users), &all(groups)))))
        }
        ("auto", None) => auto(text, options).map(UsersMode::Auto),
        ("ns", None) if is_own_users(options) => Ok(UsersMode::Own(None)),
        _ => other("userns", text, "host, keep-id, nomap, auto, private, container:NAME or ns:PATH")
            .map(UsersMode::Shared),
    }
}

/// `--uidmap` and `--gidmap`.
pub(in crate::commands) fn users(uids: &[String], gids: &[String]) -> Result<Option<Users>, Error> {
    let Some((uids, gids)) = id_maps::read(uids, gids)? else { return Ok(None) };
    let users = Users::new(&uids, &gids);
    if users.root().is_none() {
        return Err(Error::Invalid(
            "--uidmap and --gidmap must say who the container's user and group 0 are: add 0:HOST:NUMBER"
                .into(),
        ));
    }
    Ok(Some(users))
}

/// `--subuidname` and `--subgidname`: all that /etc/subuid and /etc/subgid give a name, one range after the other. Without one of
/// them the other counts for both.
pub(in crate::commands) fn of_names(user: Option<&str>, group: Option<&str>) -> Result<Option<Users>, Error> {
    let (Some(user), Some(group)) = (user.or(group), group.or(user)) else { return Ok(None) };
    let uids = ranges_of("subuidname", "/etc/subuid", user, Kind::User)?;
    let gids = ranges_of("subgidname", "/etc/subgid", group, Kind::Group)?;
    Ok(Some(Users::new(&uids, &gids)))
}

fn ranges_of(flag: &str, file: &str, name: &str, kind: Kind) -> Result<IdMap, Error> {
    let text = std::fs::read_to_string(file).doing(|| format!("read {file}"))?;
    let mut all = Vec::new();
    let mut next = 0_u32;
    for (outside, size) in ranges(&text, name) {
        all.push(IdRange { inside: next, outside, size });
        next = next.saturating_add(size);
    }
    if all.is_empty() {
        return Err(Error::Invalid(format!(
            "--{flag} {name}: {file} gives that name nothing: add a line {name}:FIRST:NUMBER"
        )));
    }
    id_maps::from_machine(kind, &IdMap::new(all)).ok_or_else(|| {
        Error::Invalid(format!(
            "--{flag} {name}: not all of these are yours in {file}: use a name whose ranges are, or run this as root"
        ))
    })
}

/// How many users and groups an ordinary user has besides itself.
fn behind(mode: &str) -> Result<(u32, u32), Error> {
    let number = |map: IdMap| u32::try_from(map.count().saturating_sub(1)).unwrap_or(u32::MAX - 1);
    match (number(IdMap::own_users()), number(IdMap::own_groups())) {
        (0, _) | (_, 0) => Err(Error::Invalid(format!(
            "--userns {mode} needs more users and groups than one: as root, run usermod --add-subuids 100000-165535 --add-subgids 100000-165535 NAME"
        ))),
        both => Ok(both),
    }
}

/// `keep-id`: who calls is himself in the container, or who is said. Root's own users are those of the host, as with Podman.
fn kept(text: &str, options: &str) -> Result<Option<Users>, Error> {
    let (mut uid, mut gid, mut size) = (None, None, None);
    for (key, value) in pairs(options) {
        let number = || value.parse::<u32>().ok().filter(|&n| n < u32::MAX);
        let known = match key {
            "uid" => &mut uid,
            "gid" => &mut gid,
            "size" => &mut size,
            _ => return Err(unknown(text, key, "uid, gid and size")),
        };
        *known = Some(number().ok_or_else(|| unknown(text, key, "numbers"))?);
    }
    if !rootless::is_rootless() {
        return match size {
            // Podman's words.
            Some(_) => {
                Err(Error::Invalid("cannot set max size for user namespace when not running rootless".into()))
            }
            None => Ok(None),
        };
    }
    let (users, groups) = behind("keep-id")?;
    let most = |number: u32| size.map_or(number, |size| number.min(size));
    let uid = uid.unwrap_or_else(rootless::user);
    let gid = gid.unwrap_or_else(|| IdMap::own_groups().outside(0).unwrap_or_default());
    let (uids, gids) = (around(uid, most(users)), around(gid, most(groups)));
    Ok(Some(Users { kept: Some((uid, gid)), ..Users::new(&uids, &gids) }))
}

/// Who calls as one id, and the others before and after it.
fn around(own: u32, others: u32) -> IdMap {
    let before = own.min(others);
    let after = IdRange { inside: own.saturating_add(1), outside: before + 1, size: others - before };
    let all = [
        IdRange { inside: 0, outside: 1, size: before },
        IdRange { inside: own, outside: 0, size: 1 },
        after,
    ];
    IdMap::new(all.into_iter().filter(|range| range.size > 0).collect())
}

/// `auto`: users that no other container has.
fn auto(text: &str, options: &str) -> Result<AutoUsers, Error> {
    let mut auto = AutoUsers::default();
    for (key, value) in pairs(options) {
        let fixed = |kind| -> Result<IdMapping, Error> {
            Ok(id_maps::plain(kind, value).ok_or_else(|| unknown(text, key, "CONTAINER:HOST:NUMBER"))?.into())
        };
        match key {
            "size" => {
                let size = value.parse::<u32>().ok().filter(|&size| size > 0 && size < u32::MAX);
                auto.size = Some(size.ok_or_else(|| unknown(text, key, "a number"))?);
            }
            "uidmapping" => auto.uids.push(fixed(Kind::User)?),
            "gidmapping" => auto.gids.push(fixed(Kind::Group)?),
            _ => return Err(unknown(text, key, "size, uidmapping and gidmapping")),
        }
    }
    if rootless::is_rootless() {
        let (users, groups) = behind("auto")?;
        (auto.users, auto.groups) = (vec![(1, users)], vec![(1, groups)]);
        return Ok(auto);
    }
    let pool = |file: &str| -> Vec<(u32, u32)> {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let given: Vec<_> = ranges(&text, POOL).collect();
        if given.is_empty() { vec![USUAL_POOL] } else { given }
    };
    (auto.users, auto.groups) = (pool("/etc/subuid"), pool("/etc/subgid"));
    Ok(auto)
}

/// `KEY=VALUE`, separated by commas.
fn pairs(options: &str) -> impl Iterator<Item = (&str, &str)> {
    let all = options.split(',').filter(|option| !option.is_empty());
    all.map(|option| option.split_once('=').unwrap_or((option, "")))
}

fn unknown(text: &str, key: &str, use_these: &str) -> Error {
    Error::Invalid(format!("invalid value {text:?} for --userns: option {key}: use {use_these}"))
}

/// Whether a path leads to the user namespace that this program is in.
fn is_own_users(path: &str) -> bool {
    use std::os::unix::fs::MetadataExt;
    let number = |path: &str| std::fs::metadata(path).ok().map(|there| (there.dev(), there.ino()));
    number(path).is_some_and(|there| number("/proc/self/ns/user") == Some(there))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_calls_is_in_the_middle_of_the_others() {
        assert_eq!(around(1000, 65536).to_string(), "0:1:1000,1000:0:1,1001:1001:64536");
        assert_eq!(around(0, 10).to_string(), "0:0:1,1:1:10");
        assert_eq!(around(70_000, 65536).to_string(), "0:1:65536,70000:0:1");
    }
}

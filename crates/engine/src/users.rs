//! User namespaces of containers: users that are nobody else's, those of a namespace that is there, and whom files belong to.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use loment_monitor::launch::Lower;
use loment_runtime::InRoot;
use loment_store::{Content, ImageId, Owners};
use loment_sys::clone::{CloneFlags, Fork, clone3};
use loment_sys::ids::{IdMap, IdRange};
use loment_sys::process::is_in_user_namespace;
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::{Deserialize, Serialize};

use crate::config::{Config, IdMapping, Namespaces, Users};
use crate::create::Create;
use crate::error::{Context, invalid};
use crate::{Engine, Error};

/// So many users a container of the machine's root gets that does not say how many.
const USUAL: u32 = 65536;
/// So many a container of an ordinary user gets at least: that has few.
const FEWEST: u32 = 1024;
/// Of a file of an image, no more bytes are read.
const MAX_FILE: u64 = 1 << 20;
/// Held while a container with users of nobody else is made.
const LOCK: &str = "users.lock";

/// Users and groups for a container that no other one has while it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoUsers {
    /// First and number of the users that may be given to containers.
    pub users: Vec<(u32, u32)>,
    /// The same of groups.
    pub groups: Vec<(u32, u32)>,
    /// Those it has in any case.
    pub uids: Vec<IdMapping>,
    /// The same of groups.
    pub gids: Vec<IdMapping>,
    /// How many of each.
    pub size: Option<u32>,
}

impl Engine {
    /// Chooses users for a container that is to have such as are nobody else's. They are taken when it is recorded; until then what is
    /// returned has to be kept.
    pub(crate) fn choose_users(&self, asked: &mut Create) -> Result<Option<File>, Error> {
        let Some(auto) = asked.choices.users.take() else { return Ok(None) };
        let size = match auto.size {
            Some(size) => size,
            None if !is_in_user_namespace() => USUAL,
            None => {
                let image = asked.image.as_ref().map(|(id, _)| id);
                let of_image = image.map_or(Ok(0), |id| self.highest_user(id))?;
                let user = asked.choices.user.as_deref().unwrap_or_default();
                let of_user = user.split(':').filter_map(|n| n.parse::<u32>().ok()).max().unwrap_or(0);
                of_image.max(of_user).saturating_add(1).clamp(FEWEST, USUAL)
            }
        };
        let (users, lock) = self.take_users(AutoUsers { size: Some(size), ..auto })?;
        asked.config.namespaces.users = Some(users);
        Ok(Some(lock))
    }

    /// The same for one that is as another, which may have such users.
    pub(crate) fn choose_other_users(&self, config: &mut Config) -> Result<Option<File>, Error> {
        let namespaces = &mut config.namespaces;
        let auto = namespaces.users.as_mut().and_then(|users| users.auto.take());
        let Some(auto) = auto.filter(|_| namespaces.user.is_own()) else { return Ok(None) };
        let (users, lock) = self.take_users(auto)?;
        namespaces.users = Some(users);
        fit(namespaces)?;
        Ok(Some(lock))
    }

    /// Whom the files of a container belong to, if the kernel does not map that: an ordinary user's, and copies.
    pub(crate) fn owners(&self, config: &Config) -> Option<Owners> {
        let users = config.namespaces.users.as_ref()?;
        let (users, groups) = users.maps();
        (is_in_user_namespace() || self.makes_copies()).then_some(Owners { users, groups })
    }

    fn take_users(&self, auto: AutoUsers) -> Result<(Users, File), Error> {
        let size = auto.size.unwrap_or(USUAL);
        let path = self.runroot().join(LOCK);
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        let lock = file.context("open", path.display())?;
        lock.lock().context("lock", path.display())?;
        let (mut users, mut groups) = (Vec::new(), Vec::new());
        for other in self.containers()? {
            if let Some(taken) = other.config.namespaces.users {
                let (uids, gids) = taken.maps();
                users.extend_from_slice(uids.ranges());
                groups.extend_from_slice(gids.ranges());
            }
        }
        let choose = |what, all: &[(u32, u32)], taken: &[IdRange], fixed: &[IdMapping]| {
            let fixed: Vec<IdRange> = fixed.iter().map(|m| m.range()).collect();
            choose(all, taken, &fixed, size).ok_or_else(|| {
                let hint = format!(
                    "there are not {size} {what} that no container has: remove containers, say --userns auto:size=NUMBER, or give more in /etc/subuid and /etc/subgid"
                );
                invalid("user namespace", "auto", hint)
            })
        };
        let uids = choose("users", &auto.users, &users, &auto.uids)?;
        let gids = choose("groups", &auto.groups, &groups, &auto.gids)?;
        Ok((Users { auto: Some(auto), ..Users::new(&uids, &gids) }, lock))
    }

    /// The highest number of a user or group in the files of an image. Its layers are directories, as an ordinary user's are.
    fn highest_user(&self, id: &ImageId) -> Result<u32, Error> {
        let store = self.store();
        let no_image = || Error::NoImage { name: id.hex().to_owned() };
        let image = store.image(id)?.ok_or_else(no_image)?;
        let layers = match store.layer_dirs(&image) {
            // Where containers have copies.
            Err(loment_store::Error::NotADirectory { .. }) => return Ok(USUAL),
            layers => layers?,
        };
        let mut highest = 0;
        for file in ["/etc/passwd", "/etc/group"] {
            let text = layers.iter().find_map(|layer| read_in(layer, file).ok()).unwrap_or_default();
            let numbers = text.lines().filter_map(|line| line.split(':').nth(2)?.parse::<u32>().ok());
            // Nobody is shown as nobody without being one of them.
            highest = numbers.filter(|&n| n < loment_sys::ids::NOBODY).fold(highest, u32::max);
        }
        Ok(highest)
    }
}

fn read_in(layer: &Path, file: &str) -> io::Result<String> {
    let root = InRoot::new(File::open(layer)?.into());
    let mut text = String::new();
    root.open_regular(Path::new(file))?.take(MAX_FILE).read_to_string(&mut text)?;
    Ok(text)
}

/// Numbers 0 to `size` with ids outside of which nobody has `taken` any, and those that are fixed; `None` when there are too few.
fn choose(all: &[(u32, u32)], taken: &[IdRange], fixed: &[IdRange], size: u32) -> Option<IdMap> {
    let inside = without(vec![(0, size.into())], fixed.iter().map(|r| (r.inside, r.size)));
    let own = fixed.iter().map(|r| (r.outside, r.size));
    let all = all.iter().map(|&(first, size)| (u64::from(first), u64::from(first) + u64::from(size)));
    let mut free = without(all.collect(), taken.iter().map(|r| (r.outside, r.size)).chain(own)).into_iter();
    let mut ranges = fixed.to_vec();
    let mut piece = (0, 0);
    for (mut first, end) in inside {
        while first < end {
            if piece.0 == piece.1 {
                piece = free.next()?;
            }
            let size = (end - first).min(piece.1 - piece.0);
            let number = |n: u64| u32::try_from(n).ok();
            ranges.push(IdRange { inside: number(first)?, outside: number(piece.0)?, size: number(size)? });
            (first, piece.0) = (first + size, piece.0 + size);
        }
    }
    ranges.sort_by_key(|range| range.inside);
    Some(IdMap::new(ranges))
}

/// What is left of some ranges, first and behind the last, without others, first and number.
fn without(ranges: Vec<(u64, u64)>, others: impl Iterator<Item = (u32, u32)>) -> Vec<(u64, u64)> {
    others.fold(ranges, |ranges, (first, size)| {
        let (first, end) = (u64::from(first), u64::from(first) + u64::from(size));
        let cut = |(from, to): (u64, u64)| [(from, to.min(first)), (from.max(end), to)];
        let left = ranges.into_iter().flat_map(|range| match range.0 < end && first < range.1 {
            true => cut(range),
            false => [range, (0, 0)],
        });
        left.filter(|(from, to)| from < to).collect()
    })
}

/// Users of a namespace that is there, as they are here.
pub(crate) fn of_namespace(path: &Path) -> Result<Users, Error> {
    let read = || -> io::Result<Users> {
        let namespace = File::open(path)?;
        let ((mut joined, tell), (wait, go)) = (io::pipe()?, io::pipe()?);
        let (pid, pidfd) = match clone3(CloneFlags::empty(), None)? {
            Fork::Child => {
                drop((joined, go));
                let result = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::User));
                let code = result.err().map_or(0, Errno::raw_os_error);
                let _ = (&tell).write_all(&code.to_ne_bytes());
                // Until its ids were read.
                let _ = (&wait).read(&mut [0]);
                loment_sys::process::exit_now(0)
            }
            Fork::Parent { pid, pidfd } => (pid.as_raw_nonzero(), pidfd),
        };
        drop((tell, wait));
        let mut code = [0; 4];
        let heard = joined.read_exact(&mut code);
        let of = |file: &str| IdMap::read(Path::new(&format!("/proc/{pid}/{file}")));
        let users = Users::new(&of("uid_map"), &of("gid_map"));
        drop(go);
        let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
        heard?;
        match i32::from_ne_bytes(code) {
            0 => Ok(users),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    };
    let users = read().context("join the user namespace", path.display())?;
    match users.root() {
        Some(_) => Ok(users),
        None => Err(invalid("user namespace", path.display().to_string(), "it has no user and group 0")),
    }
}

/// Makes users such that the kernel takes them: it wants no range to be of several ranges around it.
pub(crate) fn fit(namespaces: &mut Namespaces) -> Result<(), Error> {
    let Some(users) = namespaces.users.as_mut().filter(|_| namespaces.user.is_own()) else { return Ok(()) };
    let (uids, gids) = users.maps();
    let (own_users, own_groups) = (IdMap::own_users(), IdMap::own_groups());
    let (Some(uids), Some(gids)) = (uids.cut(&own_users), gids.cut(&own_groups)) else {
        let hint = format!(
            "the users and groups behind it are 0 to {} and 0 to {}: give yourself more in /etc/subuid and /etc/subgid (usermod --add-subuids, --add-subgids)",
            own_users.count().saturating_sub(1),
            own_groups.count().saturating_sub(1),
        );
        return Err(invalid("user namespace", format!("{uids} and {gids}"), hint));
    };
    let fitting = Users::new(&uids, &gids);
    (users.uids, users.gids) = (fitting.uids, fitting.gids);
    Ok(())
}

/// What copies of layers for them are to have.
pub(crate) fn content() -> Content {
    if loment_monitor::takes_data_layers() { Content::OfLayers } else { Content::Copied }
}

/// Layers that are directories.
pub(crate) fn directories(paths: Vec<PathBuf>) -> Vec<Lower> {
    paths.into_iter().map(|path| Lower::Dir { path }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(map: Option<IdMap>) -> String {
        map.map(|map| map.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_nobody_has_is_chosen() {
        let taken = |outside, size| IdRange { inside: 0, outside, size };
        let all = [(1000, 100), (5000, 50)];
        assert_eq!(ranges(choose(&all, &[], &[], 10)), "0:1000:10");
        assert_eq!(ranges(choose(&all, &[taken(900, 110), taken(1020, 5)], &[], 12)), "0:1010:10,10:1025:2");
        assert_eq!(ranges(choose(&all, &[taken(1000, 90)], &[], 20)), "0:1090:10,10:5000:10");
        assert_eq!(choose(&all, &[taken(1000, 1)], &[], 150), None);
        let fixed = [IdRange { inside: 5, outside: 1001, size: 2 }];
        assert_eq!(ranges(choose(&all, &[], &fixed, 10)), "0:1000:1,1:1003:4,5:1001:2,7:1007:3");
        let fixed = [IdRange { inside: 50, outside: 7, size: 1 }];
        assert_eq!(ranges(choose(&all, &[], &fixed, 10)), "0:1000:10,50:7:1");
    }
}

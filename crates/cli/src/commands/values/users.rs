//! Users and groups of a user namespace.

use loment_engine::config::{IdMapping, Users};

use crate::error::{Doing, Error};
use crate::rootless::ranges;

/// `--uidmap` and `--gidmap`: without one of them the other counts for both.
pub(in crate::commands) fn users(uids: &[String], gids: &[String]) -> Result<Option<Users>, Error> {
    let read = |flag: &str, texts: &[String]| -> Result<Vec<IdMapping>, Error> {
        texts.iter().map(|text| id_mapping(flag, text)).collect()
    };
    let mut users = Users { uids: read("--uidmap", uids)?, gids: read("--gidmap", gids)? };
    match (users.uids.is_empty(), users.gids.is_empty()) {
        (true, true) => return Ok(None),
        (true, false) => users.uids.clone_from(&users.gids),
        (false, true) => users.gids.clone_from(&users.uids),
        (false, false) => {}
    }
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
    Ok(Some(Users {
        uids: ranges_of("subuidname", "/etc/subuid", user)?,
        gids: ranges_of("subgidname", "/etc/subgid", group)?,
    }))
}

fn ranges_of(flag: &str, file: &str, name: &str) -> Result<Vec<IdMapping>, Error> {
    let text = std::fs::read_to_string(file).doing(|| format!("read {file}"))?;
    let mut all = Vec::new();
    let mut next = 0_u32;
    for (host_id, size) in ranges(&text, name) {
        all.push(IdMapping { container_id: next, host_id, size });
        next = next.saturating_add(size);
    }
    if all.is_empty() {
        return Err(Error::Invalid(format!(
            "--{flag} {name}: {file} gives that name nothing: add a line {name}:FIRST:NUMBER"
        )));
    }
    Ok(all)
}

fn id_mapping(flag: &str, text: &str) -> Result<IdMapping, Error> {
    let numbers: Vec<Option<u32>> = text.split(':').map(|number| number.parse().ok()).collect();
    let fits = |first: u32, size: u32| first.checked_add(size).is_some();
    match numbers[..] {
        [Some(container_id), Some(host_id)] => Ok(IdMapping { container_id, host_id, size: 1 }),
        [Some(container_id), Some(host_id), Some(size)]
            if size > 0 && fits(container_id, size) && fits(host_id, size) =>
        {
            Ok(IdMapping { container_id, host_id, size })
        }
        _ => Err(Error::Invalid(format!("invalid value {text:?} for {flag}: use CONTAINER:HOST:NUMBER"))),
    }
}

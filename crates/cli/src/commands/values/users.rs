//! Users and groups of a user namespace.

use loment_engine::config::{IdMapping, Users};

use crate::error::Error;

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

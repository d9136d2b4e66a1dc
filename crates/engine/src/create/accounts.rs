//! Users that a container's files are to know.

use loment_monitor::accounts::{Accounts, HostUser};
use loment_sys::ids::IdMap;

use crate::error::{Context, invalid};
use crate::{Error, config};

const PASSWD: &str = "/etc/passwd";

/// What its monitor has to know about them. The host's users are looked up each time it starts.
/// `kept`: who called, in the container, if that has them as themselves.
pub(crate) fn accounts(
    asked: &config::Accounts,
    kept: Option<(u32, u32)>,
) -> Result<Option<Accounts>, Error> {
    let config::Accounts { add, passwd_entry, group_entry, host_users } = asked;
    if !add {
        return Ok(None);
    }
    let passwd = match (host_users.as_slice(), kept) {
        ([], None) => String::new(),
        _ => String::from_utf8_lossy(&std::fs::read(PASSWD).context("read", PASSWD)?).into_owned(),
    };
    let unknown =
        |text: &str| invalid("user of the host", text, format!("{PASSWD} of the host has no such user"));
    let find = |text: &String| HostUser::find(text, &passwd).ok_or_else(|| unknown(text));
    Ok(Some(Accounts {
        passwd_entry: passwd_entry.clone(),
        group_entry: group_entry.clone(),
        host_users: host_users.iter().map(find).collect::<Result<_, _>>()?,
        kept: kept.and_then(|(uid, gid)| {
            let caller = IdMap::own_users().outside(0)?;
            Some(HostUser { uid, gid, ..HostUser::find(&caller.to_string(), &passwd)? })
        }),
    }))
}

//! Users and groups of a container, from its own /etc/passwd and /etc/group. Never the host's, never NSS.

use std::io::Read;
use std::path::Path;

use loment_runtime::InRoot;
use thiserror::Error;

/// More of these files is not read: they are the image's.
const MAX_FILE: u64 = 4 << 20;

/// Why there is no such user.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum UserError {
    #[error("unable to find user {name}: no matching entries in passwd file")]
    NoUser { name: String },
    #[error("unable to find group {name}: no matching entries in group file")]
    NoGroup { name: String },
    #[error("invalid user {text:?}: use NAME or UID, optionally :GROUP or :GID")]
    Invalid { text: String },
}

/// Who a program runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Numbers of further groups.
    pub groups: Vec<u32>,
    /// The home directory, `/` when unknown.
    pub home: String,
}

/// A number as it must be written: no sign, no blank (CVE-2026-30892 was a loose parser).
pub(crate) fn number(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok().filter(|&n| n != u32::MAX) } else { None }
}

/// The lines of a passwd or group file, split.
pub(crate) fn entries(file: &str) -> impl Iterator<Item = Vec<&str>> {
    file.lines().filter(|l| !l.starts_with('#')).map(|l| l.split(':').collect())
}

fn group_id(name: &str, group_file: &str) -> Result<u32, UserError> {
    let by_name = entries(group_file).find(|g| g.first() == Some(&name)).and_then(|g| number(g.get(2)?));
    by_name.or_else(|| number(name)).ok_or_else(|| UserError::NoGroup { name: name.to_owned() })
}

/// Finds `text` (`user[:group]`; empty is root) in the given files. `more` names further groups.
///
/// # Errors
/// [`UserError`].
pub fn find(text: &str, more: &[String], passwd: &str, group_file: &str) -> Result<User, UserError> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    if group == Some("") || text.contains(['\n', '\0']) {
        return Err(UserError::Invalid { text: text.to_owned() });
    }
    let user = if user.is_empty() { "0" } else { user };
    let entry = entries(passwd).find(|e| e.first() == Some(&user)).or_else(|| {
        number(user).and_then(|n| entries(passwd).find(|e| e.get(2).and_then(|f| number(f)) == Some(n)))
    });
    let field = |i: usize| entry.as_ref().and_then(|e| e.get(i).copied());
    let uid = field(2).and_then(number).or_else(|| number(user));
    let uid = uid.ok_or_else(|| UserError::NoUser { name: user.to_owned() })?;
    let gid = match group {
        Some(g) => group_id(g, group_file)?,
        None => field(3).and_then(number).unwrap_or(0),
    };
    let mut groups = Vec::new();
    if let (None, Some(name)) = (group, field(0)) {
        // Membership counts unless a group was chosen.
        let member = |g: &&Vec<&str>| g.get(3).is_some_and(|m| m.split(',').any(|u| u == name));
        let all: Vec<_> = entries(group_file).collect();
        groups.extend(all.iter().filter(member).filter_map(|g| number(g.get(2)?)));
    }
    for name in more {
        groups.push(group_id(name, group_file)?);
    }
    groups.sort_unstable();
    groups.dedup();
    let home = field(5).filter(|h| !h.is_empty()).unwrap_or("/");
    Ok(User { uid, gid, groups, home: home.to_owned() })
}

/// Finds a user in the files of a root file system.
///
/// # Errors
/// [`UserError`].
pub fn find_in(root: &InRoot, text: &str, more: &[String]) -> Result<User, UserError> {
    find(text, more, &read(root, "/etc/passwd"), &read(root, "/etc/group"))
}

/// The file's text; one that is missing or no regular file counts as empty.
pub(crate) fn read(root: &InRoot, path: &str) -> String {
    let Ok(file) = root.open_regular(Path::new(path)) else { return String::new() };
    let mut bytes = Vec::new();
    let _ = file.take(MAX_FILE).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/var/www:/bin/false\n4000:x:7:8::/n:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nweb:x:33:\nlog:x:4:web,other\nvideo:x:44:web\n";

    fn find(text: &str) -> Result<User, UserError> {
        super::find(text, &[], PASSWD, GROUP)
    }

    #[test]
    fn names_numbers_and_groups() {
        assert_eq!(find("").unwrap(), User { uid: 0, gid: 0, groups: vec![], home: "/root".into() });
        assert_eq!(
            find("web").unwrap(),
            User { uid: 33, gid: 33, groups: vec![4, 44], home: "/var/www".into() }
        );
        assert_eq!(find("33").unwrap().groups, [4, 44]);
        assert_eq!(
            find("web:log").unwrap(),
            User { uid: 33, gid: 4, groups: vec![], home: "/var/www".into() }
        );
        assert_eq!(find("1234:99").unwrap(), User { uid: 1234, gid: 99, groups: vec![], home: "/".into() });
        // A name that looks like a number is a name first.
        assert_eq!(find("4000").unwrap().uid, 7);
        let more = super::find("web:33", &["video".into(), "12".into()], PASSWD, GROUP).unwrap();
        assert_eq!(more.groups, [12, 44]);
    }

    #[test]
    fn what_is_neither_is_refused() {
        for bad in ["nobody", "-1", "+1", " 0", "0x10", "4294967295", "99999999999", "web:", "web:nogroup"] {
            assert!(find(bad).is_err(), "{bad:?}");
        }
    }
}

//! Lines that a container's passwd and group files lack: of a user who is given by number, and of users of the host.

use serde::{Deserialize, Serialize};

use crate::user::{entries, number};

/// What these files are to have.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Accounts {
    /// The line of a user, with `$USERNAME`, `$UID`, `$GID`, `$NAME` and `$HOME`; `None` is the usual one.
    pub passwd_entry: Option<String>,
    /// The line of a group, with `$GROUPNAME`, `$GID` and `$USERLIST`; `None` is the usual one.
    pub group_entry: Option<String>,
    /// They are to be known in the container, too.
    pub host_users: Vec<HostUser>,
    /// The caller, who has a number in the container: to be known there, if neither name nor number is.
    #[serde(default)]
    pub kept: Option<HostUser>,
}

/// A user as the host knows him.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of passwd(5)")]
pub struct HostUser {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub full_name: String,
    pub home: String,
}

impl HostUser {
    /// Finds a user, by name or number, in the text of a passwd file.
    pub fn find(text: &str, passwd: &str) -> Option<Self> {
        let by_number =
            |e: &Vec<&str>| number(text).is_some_and(|n| e.get(2).and_then(|uid| number(uid)) == Some(n));
        let found = entries(passwd).find(|e| e.first() == Some(&text));
        let found = found.or_else(|| entries(passwd).find(by_number))?;
        Some(Self {
            name: (*found.first()?).to_owned(),
            uid: number(found.get(2)?)?,
            gid: number(found.get(3)?)?,
            full_name: (*found.get(4)?).to_owned(),
            home: (*found.get(5)?).to_owned(),
        })
    }
}

/// What is to be added to the files with these texts, each whole lines: `(passwd, group)`. `user` is the container's, as given, and
/// `workdir` his home; that of a host's user is his own where `has` says that the container has such a directory.
pub(crate) fn missing(
    wanted: &Accounts,
    user: &str,
    workdir: &str,
    (passwd, group): (&str, &str),
    has: impl Fn(&str) -> bool,
) -> (String, String) {
    let mut lines = Vec::new();
    let is_new = |user: &&HostUser| {
        let is_same = |e: &Vec<&str>| {
            e.first() == Some(&user.name.as_str()) || e.get(2).and_then(|n| number(n)) == Some(user.uid)
        };
        !entries(passwd).any(|e| is_same(&e))
    };
    let kept = wanted.kept.as_ref().filter(is_new);
    for user in wanted.host_users.iter().chain(kept) {
        if !entries(passwd).any(|e| e.first() == Some(&user.name.as_str())) {
            let home = if has(&user.home) { &user.home } else { workdir };
            lines.push(wanted.user_line(user, home));
        }
    }
    let (name, chosen) = user.split_once(':').map_or((user, None), |(user, group)| (user, Some(group)));
    let known = |uid| {
        let is_same =
            |e: &Vec<&str>| e.first() == Some(&name) || e.get(2).and_then(|n| number(n)) == Some(uid);
        entries(passwd).any(|e| is_same(&e))
            || wanted.host_users.iter().chain(kept).any(|user| user.uid == uid)
    };
    if let Some(uid) = number(name).filter(|&uid| !known(uid)) {
        let by_name = |group_name| {
            let found = entries(group).find(|g| g.first() == Some(&group_name));
            found.and_then(|g| number(g.get(2)?))
        };
        let gid = chosen.map_or(Some(0), |group| number(group).or_else(|| by_name(group)));
        let user = HostUser {
            name: uid.to_string(),
            uid,
            gid: gid.unwrap_or(0),
            full_name: "container user".into(),
            home: String::new(),
        };
        lines.push(wanted.user_line(&user, workdir));
    }
    let group_name = chosen.unwrap_or(name);
    let is_known = |gid| {
        entries(group)
            .any(|g| g.first() == Some(&group_name) || g.get(2).and_then(|n| number(n)) == Some(gid))
    };
    let line = number(group_name).filter(|&gid| !is_known(gid)).map(|gid| wanted.group_line(gid, name));
    (added(passwd, &lines), added(group, line.as_slice()))
}

impl Accounts {
    /// Whether a container of this user (as given) may lack something.
    pub(crate) fn concern(&self, user: &str) -> bool {
        !self.host_users.is_empty()
            || self.kept.is_some()
            || user.split(':').any(|part| number(part).is_some())
    }

    fn user_line(&self, user: &HostUser, home: &str) -> String {
        let HostUser { name, uid, gid, full_name, .. } = user;
        let (uid, gid) = (uid.to_string(), gid.to_string());
        match &self.passwd_entry {
            Some(entry) => fill(
                entry,
                &[("$USERNAME", name), ("$UID", &uid), ("$GID", &gid), ("$NAME", full_name), ("$HOME", home)],
            ),
            None => format!("{name}:*:{uid}:{gid}:{full_name}:{home}:/bin/sh"),
        }
    }

    /// The user is no member by name: he has the group already, and would have it twice the next time.
    fn group_line(&self, gid: u32, user: &str) -> String {
        let gid = gid.to_string();
        match &self.group_entry {
            Some(entry) => fill(entry, &[("$GROUPNAME", &gid), ("$GID", &gid), ("$USERLIST", user)]),
            None => format!("{gid}:x:{gid}:"),
        }
    }
}

/// Replaces variables; what is put in their place is not looked at again.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        out += &rest[..at];
        rest = &rest[at..];
        let found = values.iter().find(|(name, _)| rest.starts_with(name));
        let (taken, value) = found.map_or((1, "$"), |(name, value)| (name.len(), *value));
        out += value;
        rest = &rest[taken..];
    }
    out + rest
}

/// The lines, after a file that may lack the end of its last one.
fn added(file: &str, lines: &[String]) -> String {
    let start = if lines.is_empty() || file.is_empty() || file.ends_with('\n') { "" } else { "\n" };
    lines.iter().fold(start.to_owned(), |text, line| text + line.trim_end_matches('\n') + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/var/www:/bin/false";
    const GROUP: &str = "root:x:0:\nlog:x:4:web\n";

    fn lines(wanted: &Accounts, user: &str) -> (String, String) {
        missing(wanted, user, "/w", (PASSWD, GROUP), |dir| dir == "/home/ann")
    }

    #[test]
    fn only_what_is_missing_is_added() {
        let usual = Accounts::default();
        let none = || (String::new(), String::new());
        assert_eq!(lines(&usual, ""), none());
        assert_eq!(lines(&usual, "web"), none());
        assert_eq!(lines(&usual, "33:4"), none());
        assert_eq!(lines(&usual, "nobody"), none());
        let passwd = |gid| format!("\n7:*:7:{gid}:container user:/w:/bin/sh\n");
        assert_eq!(lines(&usual, "7"), (passwd(0), "7:x:7:\n".into()));
        assert_eq!(lines(&usual, "7:log"), (passwd(4), String::new()));
        assert_eq!(lines(&usual, "7:8"), (passwd(8), "8:x:8:\n".into()));
        assert_eq!(lines(&usual, "web:8"), (String::new(), "8:x:8:\n".into()));
    }

    #[test]
    fn lines_are_as_they_were_asked_for() {
        let wanted = Accounts {
            passwd_entry: Some("u$UID:x:$UID:$GID:$NAME $:$HOME:/x".into()),
            group_entry: Some("g$GROUPNAME:x:$GID:$USERLIST\n".into()),
            ..Accounts::default()
        };
        let passwd = "\nu7:x:7:8:container user $:/w:/x\n".to_owned();
        assert_eq!(lines(&wanted, "7:8"), (passwd, "g8:x:8:7\n".into()));
    }

    #[test]
    fn users_of_the_host_are_found_and_added() {
        let host =
            "ann:x:1000:1001:Ann:/home/ann:/bin/zsh\nweb:x:5:5::/w:/bin/sh\nbob:x:6:6::/home/bob:/x\nbad:x\n";
        let find = |text| HostUser::find(text, host);
        assert_eq!(find("1000"), find("ann"));
        assert!(find("bad").is_none() && find("0").is_none());
        let host_users = ["ann", "web", "bob"].into_iter().filter_map(find).collect();
        let (passwd, group) = lines(&Accounts { host_users, ..Accounts::default() }, "1000");
        assert_eq!(passwd, "\nann:*:1000:1001:Ann:/home/ann:/bin/sh\nbob:*:6:6::/w:/bin/sh\n");
        assert_eq!(group, "1000:x:1000:\n");
    }
}

//! HOME for a program whose environment has none: runc and crun set it, and containerd relies on that.

use std::borrow::Cow;
use std::ffi::CString;
use std::io::Read;

use rustix::fs::{FileType, Mode, OFlags};

use crate::plan::ProcessPlan;

const PASSWD: &str = "/etc/passwd";
/// More than any real file of users has.
const MAX: u64 = 1 << 20;

/// The program's environment, with its user's home from the container's own list of users. Called inside the container's
/// root, as that user.
pub(crate) fn environment(p: &ProcessPlan) -> Cow<'_, [CString]> {
    if p.env.iter().any(|e| e.to_bytes().starts_with(b"HOME=")) {
        return Cow::Borrowed(&p.env);
    }
    let passwd = read().unwrap_or_default();
    let home = home_of(&passwd, p.uid).unwrap_or("/");
    let mut env = p.env.clone();
    // What contains a NUL is no directory.
    env.extend(CString::new(format!("HOME={home}")));
    Cow::Owned(env)
}

/// The list, if it is a file: it is the image's, and may be anything.
fn read() -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = rustix::fs::open(PASSWD, flags, Mode::empty()).ok()?;
    if FileType::from_raw_mode(rustix::fs::fstat(&fd).ok()?.st_mode) != FileType::RegularFile {
        return None;
    }
    let mut bytes = Vec::new();
    std::fs::File::from(fd).take(MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// passwd(5): name, password, number, group, comment, home, shell.
fn home_of(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let number: u32 = fields.nth(2)?.parse().ok()?;
        (number == uid).then_some(())?;
        fields.nth(2).filter(|home| !home.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::home_of;

    #[test]
    fn a_home_is_found_by_number() {
        let passwd = "broken\nroot:x:0:0:root:/root:/bin/sh\nx:x:7:7::/home/x\nempty:x:8:8:::\n";
        assert_eq!(home_of(passwd, 0), Some("/root"));
        assert_eq!(home_of(passwd, 7), Some("/home/x"));
        assert_eq!((home_of(passwd, 8), home_of(passwd, 9)), (None, None));
    }
}

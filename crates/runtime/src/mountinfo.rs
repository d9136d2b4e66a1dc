//! The kernel's list of mounts (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountInfo {
    /// Its number, as statx(2) shows it.
    pub id: u64,
    /// The mount it is on.
    pub parent: u64,
    /// Where it is, from the reader's root.
    pub point: PathBuf,
    /// The type of its file system.
    pub kind: String,
}

/// Reads the list. Lines that are not understood are left out.
pub fn parse_mountinfo(text: &[u8]) -> Vec<MountInfo> {
    text.split(|&b| b == b'\n').filter_map(line).collect()
}

fn line(line: &[u8]) -> Option<MountInfo> {
    let mut fields = line.split(|&b| b == b' ');
    let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse().ok();
    let (id, parent) = (number()?, number()?);
    let point = unescape(fields.nth(2)?);
    let kind = fields.skip_while(|f| *f != b"-").nth(1)?;
    Some(MountInfo { id, parent, point, kind: String::from_utf8_lossy(kind).into_owned() })
}

/// Blank, tab, line end and backslash are written as a backslash and three octal digits.
fn unescape(text: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|d| first == b'\\' && d.iter().all(|b| (b'0'..b'8').contains(b)));
        if let Some(digits) = octal {
            out.push(digits.iter().fold(0u8, |n, d| n.wrapping_mul(8).wrapping_add(d - b'0')));
            rest = &tail[3..];
        } else {
            out.push(first);
            rest = tail;
        }
    }
    OsString::from_vec(out).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_garbage_is_left_out() {
        let text =
            b"36 35 98:0 /mnt1 /mnt\\0402\\134 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n\
                     67 66 0:41 / /proc rw - proc proc rw\ngarbage\n1 2 3 4\n\n";
        let mounts = parse_mountinfo(text);
        let first = MountInfo { id: 36, parent: 35, point: "/mnt 2\\".into(), kind: "ext3".into() };
        assert_eq!(mounts[0], first);
        assert_eq!((mounts.len(), mounts[1].kind.as_str()), (2, "proc"));
    }
}

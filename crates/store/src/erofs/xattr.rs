//! Extended attributes of an inode, as the kernel would have stored them.
//!
//! A directory in the store gets its attributes from the kernel, which refuses some, ignores the effect of none
//! and changes the mode for an access list. An image must come out the same, so the same is done here.

use std::ffi::CString;

use rustix::io::Errno;

use crate::xattrs::Xattrs;

use super::format::{FileKind, MAX_XATTRS, XATTR_HEADER};
use crate::unpack::OPAQUE;

const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";
const CAPABILITY: &[u8] = b"security.capability";
/// What names start with, and the number that stands for it.
const PREFIXES: [(&[u8], u8); 5] =
    [(b"user.", 1), (ACL_ACCESS, 2), (ACL_DEFAULT, 3), (b"trusted.", 4), (b"security.", 6)];
/// The kernel's own limit for a value is one more than what the format can count.
const MAX_VALUE: usize = u16::MAX as usize;

/// The attributes as they follow the inode; empty when there are none. An access list changes `mode`.
pub(super) fn encode(
    kind: FileKind,
    mode: &mut u32,
    xattrs: &[(CString, Vec<u8>)],
    opaque: bool,
) -> Result<Vec<u8>, Errno> {
    let mut out = Vec::new();
    for (name, value) in xattrs {
        let name = name.to_bytes();
        let plain = matches!(kind, FileKind::File | FileKind::Directory);
        match name {
            // Only files and directories have them, see xattr(7); nothing a program depends on is lost.
            name if name.starts_with(b"user.") && !plain => continue,
            ACL_ACCESS | ACL_DEFAULT => match acl(kind, name == ACL_DEFAULT, mode, value)? {
                Keep::Yes => {}
                Keep::No => continue,
            },
            CAPABILITY if !is_capability(value) => return Err(Errno::INVAL),
            _ => {}
        }
        push(&mut out, name, value)?;
    }
    if opaque {
        push(&mut out, OPAQUE.to_bytes(), b"y")?;
    }
    Ok(out)
}

fn push(out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Result<(), Errno> {
    let found = PREFIXES.iter().find_map(|(prefix, index)| Some((*index, name.strip_prefix(*prefix)?)));
    let (index, rest) = found.ok_or(Errno::OPNOTSUPP)?;
    let is_acl = matches!(index, 2 | 3);
    if is_acl != rest.is_empty() {
        return Err(if is_acl { Errno::OPNOTSUPP } else { Errno::INVAL });
    }
    let length = u8::try_from(rest.len()).map_err(|_| Errno::RANGE)?;
    if value.len() > MAX_VALUE {
        return Err(Errno::TOOBIG);
    }
    if out.is_empty() {
        out.resize(XATTR_HEADER, 0);
    }
    out.extend_from_slice(&[length, index]);
    out.extend_from_slice(&(value.len() as u16).to_le_bytes());
    out.extend_from_slice(rest);
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
    if out.len() > MAX_XATTRS { Err(Errno::NOSPC) } else { Ok(()) }
}

/// Reads attributes back, in order; `None` for what [`encode`] does not write.
pub(super) fn decode(bytes: &[u8]) -> Option<Xattrs> {
    let mut xattrs = Vec::new();
    if bytes.is_empty() {
        return Some(xattrs);
    }
    let (header, mut rest) = bytes.split_at_checked(XATTR_HEADER)?;
    if header.iter().any(|&b| b != 0) {
        return None;
    }
    while let Some((&[length, index, low, high], after)) = rest.split_first_chunk() {
        let (name, after) = after.split_at_checked(usize::from(length))?;
        let (value, after) = after.split_at_checked(usize::from(u16::from_le_bytes([low, high])))?;
        let used = rest.len() - after.len();
        rest = rest.get(used.next_multiple_of(4)..)?;
        let (prefix, _) = PREFIXES.iter().find(|(_, known)| *known == index)?;
        xattrs.push(([*prefix, name].concat(), value.to_vec()));
    }
    rest.is_empty().then_some(xattrs)
}

/// Revisions 2 and 3 of linux/capability.h; the kernel stores no other.
fn is_capability(value: &[u8]) -> bool {
    matches!((value.len(), value.get(3)), (20, Some(2)) | (24, Some(3)))
}

enum Keep {
    Yes,
    No,
}

/// Checks an access list as posix_acl_valid() does. One that says no more than the mode is not kept.
fn acl(kind: FileKind, default: bool, mode: &mut u32, value: &[u8]) -> Result<Keep, Errno> {
    if kind == FileKind::Symlink {
        return Err(Errno::OPNOTSUPP);
    }
    let Some((version, entries)) = value.split_first_chunk::<4>() else {
        return if value.is_empty() { Ok(Keep::No) } else { Err(Errno::INVAL) };
    };
    if u32::from_le_bytes(*version) != 2 {
        return Err(Errno::OPNOTSUPP);
    }
    let (entries, rest) = entries.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(Errno::INVAL);
    }
    if entries.is_empty() {
        return Ok(Keep::No);
    }
    if default && kind != FileKind::Directory {
        return Err(Errno::ACCESS);
    }
    // Tags in the order they must come: owner, users, group, groups, mask, others.
    let (mut last, mut seen, mut bits) = (0u16, 0u16, 0u32);
    for entry in entries {
        let [tag, permissions] = [[entry[0], entry[1]], [entry[2], entry[3]]].map(u16::from_le_bytes);
        let id = [entry[4], entry[5], entry[6], entry[7]];
        let many = matches!(tag, 0x02 | 0x08);
        let known = matches!(tag, 0x01 | 0x02 | 0x04 | 0x08 | 0x10 | 0x20);
        if !known || permissions > 7 || tag < last || (tag == last && !many) || (many && id == [0xff; 4]) {
            return Err(Errno::INVAL);
        }
        let permissions = u32::from(permissions);
        match tag {
            0x01 => bits |= permissions << 6,
            0x04 => bits |= permissions << 3,
            0x10 => bits = bits & !0o70 | permissions << 3,
            0x20 => bits |= permissions,
            _ => {}
        }
        (last, seen) = (tag, seen | tag);
    }
    if seen & 0x25 != 0x25 || (seen & 0x0a != 0 && seen & 0x10 == 0) {
        return Err(Errno::INVAL);
    }
    if default {
        return Ok(Keep::Yes);
    }
    *mode = *mode & !0o777 | bits;
    Ok(if seen & 0x1a == 0 { Keep::No } else { Keep::Yes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_back() {
        let pairs: [(&str, &[u8]); 4] = [
            ("user.a", b""),
            ("trusted.long.name", &[7; 5000]),
            ("security.capability", &[1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            ("user.b", b"xyz"),
        ];
        let pairs = pairs.map(|(name, value)| (CString::new(name).unwrap(), value.to_vec()));
        let bytes = encode(FileKind::Directory, &mut 0, &pairs, true).unwrap();
        let read = decode(&bytes).unwrap();
        let expected = pairs.map(|(name, value)| (name.into_bytes(), value));
        assert_eq!(read[..4], expected);
        assert_eq!(read[4], (OPAQUE.to_bytes().to_vec(), b"y".to_vec()));
        assert!(decode(&bytes[..bytes.len() - 4]).is_none());
    }
}

//! Extended attributes of files, all that the caller may see.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{
    fgetxattr, fgetxattr_query, flistxattr, flistxattr_query, lgetxattr, lgetxattr_query, llistxattr,
    llistxattr_query,
};
use rustix::io::Errno;

/// Names and values, in the order of the names.
pub(crate) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// File capabilities (capabilities(7)).
const CAPABILITY: &[u8] = b"security.capability";

/// Whether an attribute belongs to a file: not those of the overlay, nor the labels of this machine's security modules.
pub(crate) fn belongs(name: &[u8]) -> bool {
    let foreign: [&[u8]; 3] = [b"trusted.overlay.", b"user.overlay.", b"security."];
    name == CAPABILITY || !foreign.iter().any(|prefix| name.starts_with(prefix))
}

/// Those of an open file.
pub(crate) fn of(file: impl AsFd) -> Result<Xattrs, Errno> {
    let size = match flistxattr_query(&file) {
        Err(Errno::OPNOTSUPP) => 0,
        size => size?,
    };
    let mut list = vec![0; size];
    let length = if size > 0 { flistxattr(&file, &mut list[..])? } else { 0 };
    values(&list[..length], |name| {
        let mut value = vec![0; fgetxattr_query(&file, name)?];
        let length = fgetxattr(&file, name, &mut value[..])?;
        value.truncate(length);
        Ok(value)
    })
}

/// The same of what is not opened: links, devices and pipes.
pub(crate) fn at(parent: BorrowedFd<'_>, name: &CStr) -> Result<Xattrs, Errno> {
    let path = [format!("/proc/self/fd/{}/", parent.as_raw_fd()).as_bytes(), name.to_bytes()].concat();
    let path = path.as_slice();
    let size = match llistxattr_query(path) {
        Err(Errno::OPNOTSUPP | Errno::NOENT) => 0,
        size => size?,
    };
    let mut list = vec![0; size];
    let length = if size > 0 { llistxattr(path, &mut list[..])? } else { 0 };
    values(&list[..length], |name| {
        let mut value = vec![0; lgetxattr_query(path, name)?];
        let length = lgetxattr(path, name, &mut value[..])?;
        value.truncate(length);
        Ok(value)
    })
}

fn values(list: &[u8], value: impl Fn(&[u8]) -> Result<Vec<u8>, Errno>) -> Result<Xattrs, Errno> {
    let mut all = Vec::new();
    for name in list.split(|&b| b == 0).filter(|name| !name.is_empty()) {
        match value(name) {
            // It has gone.
            Err(Errno::NODATA) => {}
            value => all.push((name.to_vec(), value?)),
        }
    }
    all.sort_unstable();
    Ok(all)
}

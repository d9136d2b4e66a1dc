//! Which descriptors a new program has.

use std::os::fd::{BorrowedFd, OwnedFd};

use crate::error::{Context, Failure};

/// Closes all from 3 on but copies of those in `keep`, which come back; those of `pass` are there under the numbers that go with them,
/// and without any, `inherit` ones from 3 on.
pub(crate) fn sweep(
    keep: &[BorrowedFd<'_>],
    pass: &[(i32, BorrowedFd<'_>)],
    inherit: u32,
) -> Result<Vec<OwnedFd>, Failure> {
    let all: Vec<_> = keep.iter().copied().chain(pass.iter().map(|(_, fd)| *fd)).collect();
    let first = pass.iter().map(|(number, _)| number + 1).max().unwrap_or(3 + inherit as i32);
    let mut kept = loment_sys::fd::keep_only(&all, first as u32).context("close", "descriptors")?;
    let copies = kept.split_off(keep.len());
    if copies.is_empty() {
        return Ok(kept);
    }
    let passed: Vec<_> = pass.iter().map(|(number, _)| *number).zip(&copies).collect();
    loment_sys::fd::pass(&passed, first).context("pass", "descriptors")?;
    // They are closed with the numbers that are not the program's.
    std::mem::forget(copies);
    Ok(kept)
}

//! Making files for a container whose users are others outside.

use std::io;

use loment_runtime::UserNamespace;
use loment_sys::process::set_file_ids;
use rustix::thread::{CapabilitySets, capabilities, set_capabilities};

/// Does something as the superuser of a user namespace where files are concerned, and with all of the caller's capabilities:
/// where ids are mapped, files can only be made by somebody who has an id there. Without a namespace just does it. For the
/// superuser outside, in a process with one thread.
pub(crate) fn act<T>(users: Option<&UserNamespace>, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let Some(users) = users else { return act() };
    let before = capabilities(None)?;
    set_file_ids(users.root.0, users.root.1)?;
    // Which took those about files (capabilities(7), "Effect of user ID changes on capabilities").
    let kept = set_capabilities(None, CapabilitySets { effective: before.effective, ..before });
    let result = kept.map_err(io::Error::from).and_then(|()| act());
    set_file_ids(0, 0)?;
    result
}

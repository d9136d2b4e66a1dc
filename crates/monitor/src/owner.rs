//! Making files for a container whose users are others outside.

use std::io;

use loment_runtime::UserNamespace;
use loment_sys::process::set_file_ids;
use rustix::thread::{CapabilitySets, capabilities, set_capabilities};

/// Does something as the superuser of a user namespace where files are concerned: see [`act_as`].
pub(crate) fn act<T>(users: Option<&UserNamespace>, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    act_as(users.map(|users| users.root), act)
}

/// Does something as a user and a group where files are concerned, and with all of the caller's capabilities: where ids are mapped,
/// files can only be made by somebody who has an id there. Without one just does it. For the superuser; it is the calling thread
/// that acts.
///
/// # Errors
/// Those of `act`, and `EINVAL` for ids that are none.
pub fn act_as<T, E: From<io::Error>>(
    user: Option<(u32, u32)>,
    act: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let Some((uid, gid)) = user else { return act() };
    let before = capabilities(None).map_err(io::Error::from)?;
    // Put back whatever happens.
    let _back = Back;
    set_file_ids(uid, gid)?;
    // Which took those about files (capabilities(7), "Effect of user ID changes on capabilities").
    let kept = set_capabilities(None, CapabilitySets { effective: before.effective, ..before });
    kept.map_err(io::Error::from)?;
    act()
}

/// Makes files as the superuser again, at its end.
struct Back;

impl Drop for Back {
    fn drop(&mut self) {
        // Nobody refuses that to the superuser.
        let _ = set_file_ids(0, 0);
    }
}

//! Where the systemd of the user who called is.

use std::path::PathBuf;

use loment_cgroup::systemd::Address;

use crate::ecosystem::variable;
use crate::rootless;

/// Its bus, as the environment says or where it usually is, and its own socket.
pub(crate) fn addresses() -> Vec<Address> {
    let mut addresses = Vec::new();
    if let Some(list) = variable("DBUS_SESSION_BUS_ADDRESS") {
        addresses.extend(Address::parse(&list.to_string_lossy()));
    }
    let dir = variable("XDG_RUNTIME_DIR").map(PathBuf::from);
    let dir = dir.unwrap_or_else(|| format!("/run/user/{}", rootless::user()).into());
    addresses.extend([Address::bus(dir.join("bus")), Address::private(dir.join("systemd/private"))]);
    addresses
}

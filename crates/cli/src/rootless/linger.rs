//! What happens to a user's containers when that user logs out.

use std::fs::File;
use std::path::Path;

use super::{ids, is_rootless, user};
use crate::output::complain;

/// Is there when systemd is process 1 (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";
/// Has a file for each user whose systemd runs while nobody is logged in (loginctl(1), enable-linger).
const LINGER: &str = "/var/lib/systemd/linger";
/// In the directory of containers: that it was said.
const NOTICE: &str = ".linger-notice";

/// Says once, where a container goes on alone, that the user's systemd will end it with the last session.
pub(crate) fn note(root: &Path) {
    if !is_rootless() || !Path::new(BOOTED).exists() {
        return;
    }
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = ids::name_of(&accounts, user()).map_or_else(|| user().to_string(), str::to_owned);
    if Path::new(LINGER).join(&name).exists() {
        return;
    }
    if File::options().write(true).create_new(true).open(root.join(NOTICE)).is_ok() {
        complain(&format!(
            "Note: containers end when {name} logs out: `loginctl enable-linger {name}` lets them run on. This is said once."
        ));
    }
}

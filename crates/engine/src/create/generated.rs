//! Files that are made for a container, each time it starts.

use std::path::{Component, Path, PathBuf};

use crate::config::{Network, Users};
use crate::container::Container;
use crate::error::invalid;
use crate::{Error, spec};

/// Writes them to its run directory, which it makes.
pub(crate) fn write_generated(container: &Container) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let dir = &container.run_dir;
    let mut builder = std::fs::DirBuilder::new();
    builder.mode(0o700).recursive(true).create(dir)?;
    builder.create(dir.join("scratch"))?;
    let config = &container.config;
    let host = config.net.network == Network::Host;
    let connected = config.net.network != Network::None;
    let of_host = |path: &str| if connected { std::fs::read(path).unwrap_or_default() } else { Vec::new() };
    let mut hosts = if host { of_host("/etc/hosts") } else { Vec::new() };
    if hosts.is_empty() {
        hosts = b"127.0.0.1\tlocalhost\n::1\tlocalhost\n".to_vec();
    }
    if !host {
        hosts.extend(format!("127.0.0.1\t{} {}\n", config.net.hostname, config.name).as_bytes());
    }
    write_public(&dir.join("hosts"), &hosts)?;
    write_public(&dir.join("hostname"), format!("{}\n", config.net.hostname).as_bytes())?;
    write_public(&dir.join("resolv.conf"), &of_host("/etc/resolv.conf"))?;
    if let Some(zone) = &config.files.time_zone {
        write_public(&dir.join("localtime"), &std::fs::read(time_zone(zone))?)?;
    }
    let image = config.image.as_ref();
    let environment = format!(
        "engine=\"loment-{}\"\nname={:?}\nid={:?}\nimage={:?}\nimageid={:?}\nrootless=0\n",
        env!("CARGO_PKG_VERSION"),
        config.name,
        config.id,
        image.map(|i| i.name.as_str()).unwrap_or_default(),
        image.map(|i| i.id.hex()).unwrap_or_default(),
    );
    write_public(&dir.join(".containerenv"), environment.as_bytes())?;
    // Mounted in the container, whose superuser may change them.
    if let Some((uid, gid)) = config.namespaces.users.as_ref().and_then(Users::root) {
        for (name, _) in spec::generated(config) {
            std::os::unix::fs::chown(dir.join(name), Some(uid), Some(gid))?;
        }
    }
    Ok(())
}

const ZONES: &str = "/usr/share/zoneinfo";

/// The file of a time zone, on the host.
fn time_zone(name: &str) -> PathBuf {
    if name == "local" { "/etc/localtime".into() } else { Path::new(ZONES).join(name) }
}

/// Refuses a time zone that this machine does not know.
pub(super) fn check_time_zone(name: &str) -> Result<(), Error> {
    let is_below = Path::new(name).components().all(|c| matches!(c, Component::Normal(_)));
    if name.is_empty() || !is_below || !time_zone(name).is_file() {
        return Err(invalid(
            "time zone",
            name,
            format!("{} is no time zone file", time_zone(name).display()),
        ));
    }
    Ok(())
}

/// Writes a file that everybody in the container may read, whatever the caller's mask is.
fn write_public(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut file = std::fs::File::create(path)?;
    std::io::Write::write_all(&mut file, content)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

//! Files that are made for a container, each time it starts.

mod given;
mod hosts;
mod resolver;

use std::path::{Component, Path, PathBuf};

pub(crate) use self::hosts::around_image;
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
    let net = &config.net;
    if !net.hosts.none {
        write_public(&dir.join("hosts"), hosts::text(config)?.as_bytes())?;
    }
    if !net.no_hostname {
        write_public(&dir.join("hostname"), format!("{}\n", net.hostname).as_bytes())?;
    }
    if !net.resolver.none {
        let of_host = match net.network {
            Network::None => String::new(),
            _ => hosts::read("/etc/resolv.conf".as_ref())?,
        };
        write_public(&dir.join("resolv.conf"), resolver::text(&of_host, &net.resolver).as_bytes())?;
    }
    if let Some(zone) = &config.files.time_zone {
        write_public(&dir.join("localtime"), &std::fs::read(time_zone(zone))?)?;
    }
    given::copy(config, dir)?;
    let image = config.image.as_ref();
    // Who has power on the host may know who he is there; for others its being there says enough.
    let environment = if !config.security.privileged {
        String::new()
    } else {
        format!(
            "engine=\"loment-{}\"\nname={:?}\nid={:?}\nimage={:?}\nimageid={:?}\nrootless={}\n",
            env!("CARGO_PKG_VERSION"),
            config.name,
            config.id,
            image.map(|i| i.name.as_str()).unwrap_or_default(),
            image.map(|i| i.id.hex()).unwrap_or_default(),
            u8::from(loment_sys::process::is_in_user_namespace()),
        )
    };
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
///
/// # Errors
/// [`Error::Invalid`].
pub fn check_time_zone(name: &str) -> Result<(), Error> {
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

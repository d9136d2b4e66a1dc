//! The system call filter of a container.

use loment_seccomp::{Arch, Caps, KernelVersion, Profile, default_profile};
use oci_spec::runtime::LinuxSeccomp;

use super::capabilities;
use crate::Error;
use crate::config::{Config, Seccomp};
use crate::error::{Context, invalid};

/// Reads a profile.
///
/// # Errors
/// [`Error::Seccomp`] for what is none.
pub fn check(json: &[u8]) -> Result<Profile, Error> {
    Ok(Profile::parse(json)?)
}

/// The filter the container's programs get; `None` for none.
pub(crate) fn filter(config: &Config) -> Result<Option<LinuxSeccomp>, Error> {
    let custom;
    let profile = match &config.security.seccomp {
        Seccomp::Unconfined => return Ok(None),
        filter if filter.is_usual() && config.security.privileged => return Ok(None),
        Seccomp::Default => default_profile(),
        Seccomp::Machine(path) => {
            let read = std::fs::read(path).context("read the system call filter", path.display())?;
            custom = check(&read)?;
            &custom
        }
        Seccomp::Profile(json) => {
            custom = check(json.as_bytes())?;
            &custom
        }
    };
    let names = capabilities::resolve(config)?;
    let caps = Caps::from_names(names.iter().map(String::as_str))
        .map_err(|e| invalid("capability", e.0, "see capabilities(7)"))?;
    let release = rustix::system::uname();
    let kernel: KernelVersion = release
        .release()
        .to_string_lossy()
        .parse()
        .map_err(|_| std::io::Error::other("it is not a version"))
        .context("read the kernel's version", release.release().to_string_lossy())?;
    let Some(arch) = Arch::native() else {
        return Err(Error::Unsupported {
            what: "a seccomp profile on this architecture".into(),
            hint: ": use --security-opt seccomp=unconfined",
        });
    };
    Ok(Some(profile.resolve(caps, arch, kernel)))
}

//! What `checkpoint` and `restore` have in common: where CRIU is, and the flags that both have.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use loment_runtime::Bundle;
use loment_runtime::checkpoint::{Cgroups, Criu, Images, NetworkLock, Options};
use oci_spec::runtime::{LinuxPersonalityDomain, Mount};
use rustix::fs::{Access, access};

use super::arguments::Arguments;
use super::globals::Runtime;
use crate::error::Error;

const PROGRAM: &str = "criu";
/// runc's and crun's annotation: a file of settings.
const CONFIG: &str = "org.criu.config";
/// runc's, in the working directory.
const IMAGES: &str = "checkpoint";

/// The flags of both commands.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    pub(crate) options: Options,
    images: Option<PathBuf>,
    work: Option<PathBuf>,
}

impl Flags {
    /// Takes a flag; `false` when it is none of these.
    pub(crate) fn take(&mut self, flag: &str, arguments: &mut Arguments<'_>) -> anyhow::Result<bool> {
        let o = &mut self.options;
        match flag {
            "--image-path" => self.images = Some(arguments.value(flag)?.into()),
            "--work-path" => self.work = Some(arguments.value(flag)?.into()),
            "--tcp-established" => o.tcp_established = true,
            "--tcp-close" => o.tcp_close = true,
            "--tcp-skip-in-flight" => o.tcp_skip_in_flight = true,
            "--ext-unix-sk" => o.ext_unix_sk = true,
            "--shell-job" => o.shell_job = true,
            "--file-locks" => o.file_locks = true,
            "--link-remap" => o.link_remap = true,
            "--lazy-pages" => o.lazy_pages = true,
            "--auto-dedup" => o.auto_dedup = true,
            "--manage-cgroups-mode" => {
                let name = arguments.value(flag)?;
                let mode = Cgroups::parse(name);
                o.cgroups = mode.with_context(|| {
                    format!("invalid manage-cgroups-mode value {name:?}: use soft, full, strict or ignore")
                })?;
            }
            "--network-lock" => {
                let name = arguments.value(flag)?;
                let lock = NetworkLock::parse(name);
                o.network_lock = Some(lock.with_context(|| {
                    format!("invalid --network-lock {name:?}: use iptables, nftables or skip")
                })?);
            }
            // Networks are those of whoever makes them: CRIU never saves their devices.
            "--empty-ns" => match arguments.value(flag)? {
                "network" => {}
                other => bail!("namespace {other:?} is not supported: --empty-ns can be network only"),
            },
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn path(&self) -> &Path {
        self.images.as_deref().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(IMAGES))
    }

    fn work(&self) -> Option<&Path> {
        self.work.as_deref().filter(|p| !p.as_os_str().is_empty())
    }

    /// The directory of a new checkpoint.
    pub(crate) fn create_images(&self) -> anyhow::Result<Images> {
        Ok(Images::create(self.path(), self.work())?)
    }

    /// The directory of a checkpoint that there is.
    pub(crate) fn open_images(&self) -> anyhow::Result<Images> {
        Ok(Images::open(self.path(), self.work())?)
    }
}

/// Refuses a configuration that cannot be saved, or restored.
///
/// # Errors
/// Name the part of it.
pub(crate) fn check(bundle: &Bundle) -> anyhow::Result<()> {
    let config = bundle.spec.annotations().as_ref().and_then(|a| a.get(CONFIG));
    if let Some(path) = config.filter(|path| !path.is_empty() && !Path::new(path).is_absolute()) {
        bail!("annotation {CONFIG}: {path:?} is not an absolute path");
    }
    refuse_what_is_not_saved(bundle)
}

/// Refuses a container that would come back without a part of its: when it is saved, not when it is gone.
fn refuse_what_is_not_saved(bundle: &Bundle) -> anyhow::Result<()> {
    let Some(linux) = bundle.spec.linux() else { return Ok(()) };
    let devices = linux.net_devices().as_ref().is_some_and(|devices| !devices.is_empty());
    let linux32 =
        linux.personality().as_ref().is_some_and(|p| p.domain() != LinuxPersonalityDomain::PerLinux);
    let priority = bundle.spec.process().as_ref().is_some_and(|p| p.io_priority().is_some());
    let maps = |m: &Mount| {
        let options = m.options().iter().flatten();
        let asks = |o: &String| ["idmap", "ridmap"].contains(&o.split('=').next().unwrap_or_default());
        m.uid_mappings().is_some() || m.gid_mappings().is_some() || options.into_iter().any(asks)
    };
    let parts = [
        (devices, "linux.netDevices"),
        (linux.intel_rdt().is_some(), "linux.intelRdt"),
        (linux.memory_policy().is_some(), "linux.memoryPolicy"),
        (linux32, "linux.personality"),
        (priority, "process.ioPriority"),
        (bundle.spec.mounts().iter().flatten().any(maps), "mounts whose ids are mapped"),
    ];
    match parts.into_iter().find(|(given, _)| *given) {
        Some((_, part)) => bail!("a container with {part} cannot be restored: CRIU does not save it"),
        None => Ok(()),
    }
}

/// The CRIU of `--criu`, or of `PATH`.
pub(crate) fn find(runtime: &Runtime<'_>) -> anyhow::Result<Criu> {
    let program = match &runtime.criu {
        Some(path) if path.components().count() > 1 => path.clone(),
        named => {
            let name = named.as_deref().unwrap_or(Path::new(PROGRAM));
            in_path(name).with_context(|| {
                let name = name.display();
                format!(
                    "{name} is in no directory of PATH: install criu 3.15 or newer, or name it with --criu"
                )
            })?
        }
    };
    Ok(Criu::probe(program, environment())?)
}

/// The CRIU of `PATH`.
///
/// # Errors
/// [`Error::Invalid`] says what to do.
pub(crate) fn find_criu() -> Result<Criu, Error> {
    let none = || Error::Invalid("criu is in no directory of PATH: install criu 3.15 or newer".into());
    let program = in_path(Path::new(PROGRAM)).ok_or_else(none)?;
    Ok(Criu::probe(program, environment()).map_err(loment_engine::Error::from)?)
}

/// Ours: it looks for other programs in `PATH`.
fn environment() -> Vec<CString> {
    let variable = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        CString::new(name.into_vec()).ok()
    };
    std::env::vars_os().filter_map(variable).collect()
}

fn in_path(name: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let runs = |file: &PathBuf| file.is_file() && access(file, Access::EXEC_OK).is_ok();
    // What is in the working directory is somebody else's.
    let dirs = std::env::split_paths(&path).filter(|dir| dir.is_absolute());
    dirs.map(|dir| dir.join(name)).find(runs)
}

/// The annotations of a configuration.
pub(crate) fn annotations(bundle: &Bundle) -> Vec<(&str, &str)> {
    bundle.spec.annotations().iter().flatten().map(|(k, v)| (k.as_str(), v.as_str())).collect()
}

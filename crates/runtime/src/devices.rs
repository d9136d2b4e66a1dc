//! Device nodes in /dev.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, makedev};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use crate::attributes::attach_changed;
use crate::error::{Context, invalid};
use crate::identity::checked;
use crate::masks::NODE;
use crate::mounts::{attach, clone_tree};
use crate::{Error, Failure, InRoot};

/// A node to make.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    path: PathBuf,
    kind: FileType,
    major: u32,
    minor: u32,
    mode: u32,
    owner: (u32, u32),
}

impl Device {
    /// Where it is in the container.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The devices every container has (config-linux.md, "Default Devices").
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// The default devices and those of the specification; a later one with the same path replaces an earlier.
pub(crate) fn plan(devices: &[LinuxDevice]) -> Result<Vec<Device>, Error> {
    let mut out: Vec<Device> = DEFAULT
        .iter()
        .map(|&(path, major, minor)| Device {
            path: path.into(),
            kind: FileType::CharacterDevice,
            major,
            minor,
            mode: 0o666,
            owner: (0, 0),
        })
        .collect();
    for d in devices {
        let field = || format!("device {}", d.path().display());
        if !d.path().is_absolute() || d.path().file_name().is_none() {
            return Err(invalid(field(), "the path is not absolute"));
        }
        let kind = match d.typ() {
            LinuxDeviceType::C | LinuxDeviceType::U => FileType::CharacterDevice,
            LinuxDeviceType::B => FileType::BlockDevice,
            LinuxDeviceType::P => FileType::Fifo,
            LinuxDeviceType::A => return Err(invalid(field(), "type a is for cgroup rules only")),
        };
        let number =
            |n: i64| u32::try_from(n).map_err(|_| invalid(field(), format!("{n} is not a device number")));
        let fifo = kind == FileType::Fifo;
        out.retain(|seen| seen.path != *d.path());
        out.push(Device {
            path: d.path().clone(),
            kind,
            major: if fifo { 0 } else { number(d.major())? },
            minor: if fifo { 0 } else { number(d.minor())? },
            mode: d.file_mode().unwrap_or(0o666) & 0o7777,
            owner: (
                checked(format!("{} uid", field()), d.uid().unwrap_or(0))?,
                checked(format!("{} gid", field()), d.gid().unwrap_or(0))?,
            ),
        });
    }
    Ok(out)
}

/// Cgroup rules that make the container's own devices usable: nodes of any number may be made, the default ones and
/// terminals used. Devices given with `--device` bring their own rules.
pub(crate) fn default_rules() -> Vec<LinuxDeviceCgroup> {
    let rule = |kind, major: Option<i64>, minor: Option<i64>, access: &str| {
        let mut b = LinuxDeviceCgroupBuilder::default().allow(true).typ(kind).access(access);
        if let Some(n) = major {
            b = b.major(n);
        }
        if let Some(n) = minor {
            b = b.minor(n);
        }
        b.build().expect("every field has a default")
    };
    let (c, b) = (LinuxDeviceType::C, LinuxDeviceType::B);
    let mut rules = vec![rule(c, None, None, "m"), rule(b, None, None, "m")];
    rules.extend(
        DEFAULT.iter().map(|&(_, major, minor)| rule(c, Some(major.into()), Some(minor.into()), "rwm")),
    );
    // Pseudo terminals: 136:* are the secondaries, 5:2 is ptmx.
    rules.push(rule(c, Some(136), None, "rwm"));
    rules.push(rule(c, Some(5), Some(2), "rwm"));
    rules
}

/// Makes the nodes and the links of /dev.
pub(crate) fn make(root: &InRoot, devices: &[Device]) -> Result<(), Failure> {
    // An image whose /dev is a link would have the nodes made elsewhere (CVE-2026-41579).
    let dev = match root.resolve_no_links(Path::new("/dev")) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => root.make_dir_all(Path::new("/dev")),
        other => other,
    };
    let dev = dev.context("open", "/dev")?;
    for device in devices {
        make_node(root, &dev, device).context("create device", device.path.display())?;
    }
    let links = [
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
        ("pts/ptmx", "ptmx"),
    ];
    for (target, name) in links {
        match rustix::fs::symlinkat(target, &dev, name) {
            Ok(()) => {}
            Err(Errno::EXIST) if name != "ptmx" => {}
            Err(Errno::EXIST) => replace_ptmx(&dev).context("create", "/dev/ptmx")?,
            Err(e) => return Err(e).context("create", format_args!("/dev/{name}")),
        }
    }
    if Path::new("/proc/kcore").exists() {
        let _ = rustix::fs::symlinkat("/proc/kcore", &dev, "core");
    }
    Ok(())
}

/// A ptmx node of an image opens the wrong devpts.
fn replace_ptmx(dev: &std::os::fd::OwnedFd) -> std::io::Result<()> {
    rustix::fs::unlinkat(dev, "ptmx", AtFlags::empty())?;
    Ok(rustix::fs::symlinkat("pts/ptmx", dev, "ptmx")?)
}

fn make_node(root: &InRoot, dev: &std::os::fd::OwnedFd, d: &Device) -> std::io::Result<()> {
    let name = d.path.file_name().ok_or(Errno::INVAL)?;
    let parent_path = d.path.parent().ok_or(Errno::INVAL)?;
    let other;
    let parent = if parent_path == Path::new("/dev") {
        dev
    } else {
        other = root.make_dir_all(parent_path)?;
        &other
    };
    let number = makedev(d.major, d.minor);
    match rustix::fs::mknodat(parent, name, d.kind, Mode::from_raw_mode(d.mode), number) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            // The image brought one: it must be the same thing (config-linux.md, devices).
            let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let same = FileType::from_raw_mode(stat.st_mode) == d.kind && stat.st_rdev == number;
            return if same { Ok(()) } else { Err(Errno::EXIST.into()) };
        }
        Err(Errno::PERM) => return bind_from_host(parent, name, &d.path),
        Err(e) => return Err(e.into()),
    }
    if d.owner != (0, 0) {
        let (uid, gid) = (Uid::from_raw(d.owner.0), Gid::from_raw(d.owner.1));
        rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// Where nodes may not be made (a user namespace, a device cgroup), the host's own is bound over an empty file.
fn bind_from_host(parent: &std::os::fd::OwnedFd, name: &std::ffi::OsStr, path: &Path) -> std::io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    drop(rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o666))?);
    let target =
        rustix::fs::openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let source = clone_tree(rustix::fs::CWD, path, false)?;
    // The node itself stays the host's: neither its mode nor its owner is the container's to change.
    attach_changed(&source, &[(false, NODE)], || attach(&source, &target))
}

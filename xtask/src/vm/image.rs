//! The disk of the machine: a Debian made by debootstrap from wherever this machine gets its packages, kept outside the
//! repository.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};

use super::initrd;

/// Changes whenever what is made here changes, so that an old image is not taken for a new one.
const VERSION: u32 = 5;

/// How large the disk is for the guest; what is never written takes no place here.
const DISK: &str = "8G";

/// What is on the machine besides Debian's minimum. CRIU keeps connections still with `iptables`. `netavark` is only there
/// because skopeo wants some network stack, and debootstrap chooses none.
const PACKAGES: &[&str] = &[
    "apparmor",
    "attr",
    "busybox-static",
    "criu",
    "crun",
    "dbus",
    "dbus-user-session",
    "docker-registry",
    "e2fsprogs",
    "iproute2",
    "iptables",
    "keyutils",
    "kmod",
    "libcap2-bin",
    "libpam-systemd",
    "linux-image-cloud-amd64",
    "netavark",
    "nftables",
    "procps",
    "quota",
    "runc",
    "secilc",
    "skopeo",
    "systemd",
    "systemd-sysv",
    "udev",
    "uidmap",
    "xfsprogs",
];

/// Units that only cost time. The login on the serial port waits 90 s for a device that we use otherwise.
const MASKED: &[&str] = &[
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",
    "serial-getty@ttyS0.service",
    "systemd-firstboot.service",
    "tmp.mount",
];

/// Unpacks what the host shares, and lets the host's program do what it says.
const UNIT: &str = "[Unit]
Description=Tasks of the host
ConditionPathExists=/dev/vdb
After=systemd-logind.service dbus.service systemd-user-sessions.service

[Service]
ExecStart=/bin/sh -c 'tar --extract --absolute-names --file /dev/vdb --directory /usr/local/sbin && exec /usr/local/sbin/xtask vm-guest'
StandardOutput=journal+console
StandardError=journal+console

[Install]
WantedBy=multi-user.target
";

/// A machine that can be booted.
#[derive(Debug)]
pub struct Image {
    directory: PathBuf,
    suite: String,
}

impl Image {
    /// Where its files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The release of Debian.
    pub fn suite(&self) -> &str {
        &self.suite
    }

    /// The root file system.
    pub fn disk(&self) -> PathBuf {
        self.directory.join("disk.img")
    }

    /// The kernel.
    pub fn kernel(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// What the kernel starts from.
    pub fn initrd(&self) -> PathBuf {
        self.directory.join("initrd")
    }
}

/// `$XDG_CACHE_HOME/loment-vm`.
pub fn default_cache() -> anyhow::Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    Ok(cache.context("neither XDG_CACHE_HOME nor HOME is set: say --cache DIR")?.join("loment-vm"))
}

/// The image of that suite in `cache`, made now when it is not there. Concurrent callers wait for the one that makes it.
pub fn cached(cache: &Path, suite: &str) -> anyhow::Result<Image> {
    fs::create_dir_all(cache).with_context(|| format!("make {}", cache.display()))?;
    let cache = cache.canonicalize().with_context(|| format!("resolve {}", cache.display()))?;
    let lock = fs::File::create(cache.join(format!("{suite}.lock"))).context("make a lock file")?;
    lock.lock().context("wait for the image to be made")?;
    let image = Image { directory: cache.join(format!("{suite}-{VERSION}")), suite: suite.to_owned() };
    if !image.directory.exists() {
        forget_others(&cache, suite)?;
        let new = cache.join(format!("{suite}-new"));
        fs::create_dir(&new).with_context(|| format!("make {}", new.display()))?;
        make(&new, suite)?;
        fs::rename(&new, &image.directory).context("give the image its name")?;
    }
    Ok(image)
}

/// Removes what an interrupted run left, and images of other versions.
fn forget_others(cache: &Path, suite: &str) -> anyhow::Result<()> {
    for entry in fs::read_dir(cache).context("list the cache")? {
        let entry = entry.context("list the cache")?;
        let name = entry.file_name();
        let is_dir = entry.file_type().is_ok_and(|t| t.is_dir());
        if is_dir && name.to_str().and_then(|n| n.strip_prefix(suite)).is_some_and(|n| n.starts_with('-')) {
            fs::remove_dir_all(entry.path()).with_context(|| format!("remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

fn make(directory: &Path, suite: &str) -> anyhow::Result<()> {
    let root = directory.join("root");
    let (mirror, _) = loment_testkit::debian_mirror().map_err(anyhow::Error::msg)?;
    let log = directory.join("log");
    timed("debootstrap", || {
        let mut debootstrap = contained("debootstrap");
        debootstrap
            .args(["--variant=minbase", "--merged-usr"])
            .arg(format!("--include={}", PACKAGES.join(",")));
        logged(debootstrap.arg(suite).arg(&root).arg(&mirror), &log)
    })?;
    timed("configure", || configure(&root, &log))?;
    let release = kernel_release(&root)?;
    fs::copy(root.join("boot").join(format!("vmlinuz-{release}")), directory.join("vmlinuz"))
        .context("copy the kernel")?;
    let scratch = directory.join("initrd.tree");
    initrd::make(&root, &release, &scratch, &directory.join("initrd"))?;
    timed("disk", || {
        let mut mke2fs = contained("mke2fs");
        mke2fs.args(["-q", "-F", "-t", "ext4", "-L", "root", "-d"]).arg(&root);
        logged(mke2fs.arg(directory.join("disk.img")).arg(DISK), &log)
    })?;
    for tree in [&root, &scratch] {
        fs::remove_dir_all(tree).with_context(|| format!("remove {}", tree.display()))?;
    }
    Ok(())
}

fn timed(what: &str, step: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let start = Instant::now();
    step().with_context(|| format!("make the image: {what}"))?;
    println!("image: {what} {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// A command in a mount and a pid namespace of its own: what it mounts and starts ends with it, and it ends with us.
fn contained(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child=KILL"]);
    command.arg(program).env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Runs to the end; what it says goes to the end of a file, and the last of it into the error.
fn logged(command: &mut Command, log: &Path) -> anyhow::Result<()> {
    let file = fs::File::options().create(true).append(true).open(log).context("open the log")?;
    let other = file.try_clone().context("share the log")?;
    let status = command.stdin(Stdio::null()).stdout(file).stderr(other).status().context("start setpriv")?;
    if status.success() {
        return Ok(());
    }
    let text = fs::read_to_string(log).unwrap_or_default();
    let tail: Vec<&str> = text.lines().rev().take(5).collect();
    bail!("{status}; {} ends with:\n{}", log.display(), tail.into_iter().rev().collect::<Vec<_>>().join("\n"))
}

/// What makes a tree of Debian's packages our machine. Nothing of Debian's runs during this but `useradd`.
fn configure(root: &Path, log: &Path) -> anyhow::Result<()> {
    let mut useradd = contained("chroot");
    useradd.arg(root).args(["useradd", "--create-home", "--shell", "/bin/sh", "--uid", "1000", "user"]);
    logged(&mut useradd, log)?;
    let units = root.join("etc/systemd/system");
    for (path, text) in [
        ("etc/hostname", "machine\n"),
        ("etc/hosts", "127.0.0.1 localhost machine\n::1 localhost\n"),
        ("etc/resolv.conf", ""),
        ("etc/systemd/system/loment-tasks.service", UNIT),
    ] {
        let path = root.join(path);
        // A link to what only exists on a running system.
        drop(fs::remove_file(&path));
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    for unit in MASKED {
        symlink("/dev/null", units.join(unit)).with_context(|| format!("mask {unit}"))?;
    }
    let wants = units.join("multi-user.target.wants");
    fs::create_dir_all(&wants).context("make multi-user.target.wants")?;
    symlink("../loment-tasks.service", wants.join("loment-tasks.service")).context("enable our unit")?;
    for cache in ["var/cache/apt/archives", "var/lib/apt/lists"] {
        let path = root.join(cache);
        fs::remove_dir_all(&path)
            .and_then(|()| fs::create_dir(&path))
            .with_context(|| format!("empty {cache}"))?;
    }
    Ok(())
}

/// The name of the one kernel in the tree.
fn kernel_release(root: &Path) -> anyhow::Result<String> {
    let mut names = fs::read_dir(root.join("lib/modules")).context("list the kernels")?.flatten();
    let first = names.next().context("no kernel was installed")?.file_name();
    if names.next().is_some() {
        bail!("more than one kernel was installed");
    }
    first.into_string().ok().context("the kernel's name is not UTF-8")
}

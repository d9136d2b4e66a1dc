//! Readiness messages (sd_notify(3)) of a program in a container, handed on to the service manager that started us.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use loment_runtime::state::{NOTIFY, Record};
use oci_spec::runtime::{MountBuilder, Spec};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

/// The service manager's socket.
const VARIABLE: &str = "NOTIFY_SOCKET";
const SOCKET: &str = "notify.sock";
/// Where the container finds its socket; runc's place.
const INSIDE: &str = "/run/notify";
/// How often to look whether the container has ended.
const LOOK: Duration = Duration::from_millis(100);

/// The service manager's socket, if this program was given one.
fn manager() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from)
}

/// Tells the program of a container, whose directory is `dir`, of a way to the service manager; `false` when there is none.
pub(crate) fn describe(spec: &mut Spec, dir: &Path) -> anyhow::Result<bool> {
    if manager().is_none() {
        return Ok(false);
    }
    add_mount(spec, dir)?;
    if let Some(process) = spec.process_mut() {
        process.env_mut().get_or_insert_default().push(format!("{VARIABLE}={INSIDE}/{SOCKET}"));
    }
    Ok(true)
}

/// The same for a container that was made by it: its configuration was kept as it was before.
pub(crate) fn describe_again(spec: &mut Spec, dir: &Path) -> anyhow::Result<()> {
    if dir.join(NOTIFY).is_dir() { add_mount(spec, dir) } else { Ok(()) }
}

fn add_mount(spec: &mut Spec, dir: &Path) -> anyhow::Result<()> {
    let options = ["bind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned).to_vec();
    let mount =
        MountBuilder::default().destination(INSIDE).typ("bind").source(dir.join(NOTIFY)).options(options);
    spec.mounts_mut().get_or_insert_default().push(mount.build().context("describe the mount")?);
    Ok(())
}

/// Makes what was described.
pub(crate) fn make_place(dir: &Path) -> anyhow::Result<()> {
    let place = dir.join(NOTIFY);
    std::fs::create_dir(&place)
        .and_then(|()| std::fs::set_permissions(&place, PermissionsExt::from_mode(0o755)))
        .with_context(|| format!("create {}", place.display()))
}

/// The container's socket, and the service manager's.
#[derive(Debug)]
pub(crate) struct Relay {
    inside: UnixDatagram,
    manager: PathBuf,
}

impl Relay {
    /// Opens the container's socket, if it was given a place for one.
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Option<Self>> {
        let (Some(manager), place) = (manager(), dir.join(NOTIFY)) else { return Ok(None) };
        if !place.is_dir() {
            return Ok(None);
        }
        let open = || -> io::Result<UnixDatagram> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
            let (address, _dir) = loment_sys::pipe::address_in(&place, SOCKET)?;
            bind(&socket, &address)?;
            // Whoever the program runs as.
            std::fs::set_permissions(place.join(SOCKET), PermissionsExt::from_mode(0o777))?;
            Ok(socket.into())
        };
        let inside = open().with_context(|| format!("listen on {SOCKET} in {}", place.display()))?;
        Ok(Some(Self { inside, manager }))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.inside.as_fd()
    }

    /// Hands on what has come; whether the program has said that it is ready. `pid` is the process the manager is to watch.
    pub(crate) fn relay(&self, pid: i32) -> anyhow::Result<bool> {
        let mut buffer = [0; 4096];
        let Ok(len) = self.inside.recv(&mut buffer) else { return Ok(false) };
        let text = String::from_utf8_lossy(&buffer[..len]);
        let Some(ready) = text.lines().find(|l| l.starts_with("READY=")) else { return Ok(false) };
        let socket = UnixDatagram::unbound().context("make a socket")?;
        let send = |line: String| match self.manager.to_str().and_then(|m| m.strip_prefix('@')) {
            Some(name) => {
                use std::os::linux::net::SocketAddrExt;
                let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
                socket.send_to_addr(line.as_bytes(), &address)
            }
            None => socket.send_to(line.as_bytes(), &self.manager),
        };
        send(format!("{ready}\n"))
            .and_then(|_| send(format!("MAINPID={pid}\n")))
            .with_context(|| format!("notify {}", self.manager.display()))?;
        Ok(true)
    }

    /// Hands on until the program is ready or has ended.
    pub(crate) fn wait(&self, record: &Record) -> anyhow::Result<()> {
        self.inside.set_nonblocking(false).context("prepare the socket")?;
        self.inside.set_read_timeout(Some(LOOK)).context("prepare the socket")?;
        while record.lives() {
            if self.relay(record.pid)? {
                break;
            }
        }
        Ok(())
    }
}

//! The kernel: its version, and what it can do, tried.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use loment_sys::clone::{CloneFlags, Fork, clone3, unshare};
use loment_sys::mount::{ATTR_IDMAP, ATTR_RDONLY, MountAttr, set_attributes};
use loment_sys::process::is_root_of_machine;
use loment_sys::seccomp::{FLAG_NEW_LISTENER, Instruction, load};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdir, openat2};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use super::storage::existing;
use super::tried::{become_root, in_child, privately};
use super::{Finding, Findings, Verdict};
use crate::globals::Globals;

/// The oldest kernel on which everything has been run.
const OLDEST: (u32, u32) = (5, 10);

/// Something that is tried.
struct Feature {
    /// What it is, so that "… works" and "… does not work" are sentences.
    name: &'static str,
    /// How bad it is when it is not there.
    verdict: Verdict,
    /// What is not there without it, and what to do.
    advice: &'static str,
    /// Only the machine's root uses it.
    of_root: bool,
    /// It is done in namespaces that are made for it.
    is_private: bool,
    /// A directory on the file system of the store is passed.
    work: fn(&Path) -> io::Result<()>,
}

const FEATURES: [Feature; 12] = [
    Feature {
        name: "making processes with clone3 and pidfds",
        verdict: Verdict::Problem,
        advice: "nothing is started without it: use Linux 5.10 or later; in a container, allow clone3 in its seccomp profile",
        of_root: false,
        is_private: false,
        work: |_| Ok(pidfd_open(getpid(), PidfdFlags::empty()).map(drop)?),
    },
    Feature {
        name: "mounting with fsopen, fsmount and move_mount",
        verdict: Verdict::Problem,
        advice: "no container has files without it: use Linux 5.10 or later, and allow the calls where something filters them",
        of_root: false,
        is_private: true,
        work: |_| memory().map(drop),
    },
    Feature {
        name: "changing mounts as wholes with mount_setattr",
        verdict: Verdict::Note,
        advice: "attributes of mounts are set one by one, and ids are not mapped: Linux 5.12 has it",
        of_root: false,
        is_private: true,
        work: |_| {
            let attributes = MountAttr { set: ATTR_RDONLY, ..MountAttr::default() };
            set_attributes(memory()?.as_fd(), c"", true, &attributes)
        },
    },
    Feature {
        name: "resolving paths inside a directory with openat2",
        verdict: Verdict::Problem,
        advice: "paths in containers cannot be followed safely without it: use Linux 5.10 or later, and allow the call where something filters it",
        of_root: false,
        is_private: false,
        work: |_| {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            Ok(openat2(CWD, "/", flags, Mode::empty(), ResolveFlags::IN_ROOT).map(drop)?)
        },
    },
    Feature {
        name: "mounting overlays",
        verdict: Verdict::Problem,
        advice: "containers of images need it: load or build the module overlay (as an ordinary user, Linux 5.11 or later)",
        of_root: false,
        is_private: true,
        work: |_| overlay(),
    },
    Feature {
        name: "mounting EROFS images from files",
        verdict: Verdict::Note,
        advice: "layers are kept as directories, which is slower to pull and to check: Linux 6.12 with EROFS and CONFIG_EROFS_FS_BACKED_BY_FILE mounts them as files",
        of_root: true,
        is_private: true,
        work: |_| erofs(),
    },
    Feature {
        name: "mapping the ids of mounts where the store is",
        verdict: Verdict::Note,
        advice: "--uidmap, --subuidname and idmap of volumes do not work: most file systems can do it since Linux 5.19",
        of_root: true,
        is_private: true,
        work: mapped,
    },
    Feature {
        name: "making ipc, host name, network, process and control group namespaces",
        verdict: Verdict::Problem,
        advice: "containers would not be apart from the machine: use a kernel with CONFIG_NAMESPACES, and see the sysctls user.max_*_namespaces",
        of_root: false,
        is_private: true,
        work: |_| {
            let some = CloneFlags::NEWIPC | CloneFlags::NEWUTS | CloneFlags::NEWNET;
            unshare(some | CloneFlags::NEWPID | CloneFlags::NEWCGROUP)
        },
    },
    Feature {
        name: "filtering system calls, with an agent that is asked",
        verdict: Verdict::Problem,
        advice: "containers could call all of the kernel: use a kernel with CONFIG_SECCOMP_FILTER",
        of_root: false,
        is_private: false,
        work: |_| {
            rustix::thread::set_no_new_privs(true)?;
            // BPF_RET | BPF_K of SECCOMP_RET_ALLOW.
            let allow = Instruction { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 };
            load(&[allow], FLAG_NEW_LISTENER).map(drop)
        },
    },
    Feature {
        name: "making keyrings",
        verdict: Verdict::Note,
        advice: "containers share the keys of who starts them: use a kernel with CONFIG_KEYS, or raise kernel.keys.maxkeys (root_maxkeys for root); --no-keyring makes none",
        of_root: false,
        is_private: false,
        work: |_| loment_sys::keyring::join_session(c"loment-doctor"),
    },
    Feature {
        name: "asking nf_tables",
        verdict: Verdict::Note,
        advice: "networks that pass packets on are to need it, and are not there yet: load or build the module nf_tables",
        of_root: true,
        is_private: true,
        work: |_| nf_tables(),
    },
    Feature {
        name: "opening /dev/fuse",
        verdict: Verdict::Note,
        advice: "only programs in containers that mount FUSE file systems need it: load the module fuse",
        of_root: false,
        is_private: false,
        work: |_| File::options().read(true).write(true).open("/dev/fuse").map(drop),
    },
];

pub(super) fn find(globals: &Globals) -> Vec<Finding> {
    let mut found = Findings::about("kernel");
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    match version(&release) {
        Some(version) if version < OLDEST => found.problem(
            format_args!("Linux {release} is older than 5.10, the oldest that loment is made for"),
            "use Linux 5.10 or later; 6.12 has all that is used",
        ),
        Some(_) => found.fine(format_args!("Linux {release}")),
        None => found.note(format_args!("the version {release:?} of the kernel is not understood"), ""),
    }
    user_namespaces(&mut found);
    let dir = existing(globals.root());
    for feature in &FEATURES {
        if feature.of_root && !is_root_of_machine() {
            continue;
        }
        let tried = match feature.is_private {
            true => privately(|| (feature.work)(&dir)),
            false => in_child(|| (feature.work)(&dir)),
        };
        match tried {
            Ok(()) => found.fine(format_args!("{} works", feature.name)),
            Err(error) => found.add(
                feature.verdict,
                format_args!("{} does not work: {error}", feature.name),
                feature.advice,
            ),
        }
    }
    found.all
}

/// The two numbers that a release begins with.
pub(super) fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// What decides whether there may be user namespaces, and whether there may.
fn user_namespaces(found: &mut Findings) {
    let setting = |name: &str| {
        let text = std::fs::read_to_string(Path::new("/proc/sys").join(name.replace('.', "/")));
        text.ok().and_then(|text| text.trim().parse::<u64>().ok())
    };
    let forbidden = [
        ("user.max_user_namespaces", 0, "15000"),
        ("kernel.unprivileged_userns_clone", 0, "1"),
        ("kernel.apparmor_restrict_unprivileged_userns", 1, "0"),
    ];
    let is_root = rustix::process::geteuid().is_root();
    let limits: Vec<_> = forbidden.into_iter().filter(|(name, bad, _)| setting(name) == Some(*bad)).collect();
    let advice = |(name, _, good): &(&str, u64, &str)| format!("sysctl -w {name}={good}");
    let advice = limits.iter().map(advice).collect::<Vec<_>>().join(", and ");
    let tried = match is_root {
        true => in_child(|| unshare(CloneFlags::NEWUSER)),
        false => in_child(become_root),
    };
    match tried {
        Ok(()) if limits.is_empty() => found.fine("making user namespaces works"),
        // Root is not bound by what binds others, and a profile of AppArmor may except this program.
        Ok(()) if is_root => {
            let names: Vec<_> = limits.iter().map(|(name, bad, _)| format!("{name} is {bad}")).collect();
            found.note(
                format_args!("ordinary users cannot make user namespaces: {}", names.join(", ")),
                advice,
            );
        }
        Ok(()) => found.fine("making user namespaces works, although settings restrict it"),
        Err(error) if is_root => {
            let advice =
                if advice.is_empty() { "use a kernel with CONFIG_USER_NS".to_owned() } else { advice };
            found.note(
                format_args!(
                    "making user namespaces does not work: {error}: --userns and --uidmap need them"
                ),
                advice,
            );
        }
        Err(error) => {
            let usual = "use sudo, or a kernel with CONFIG_USER_NS".to_owned();
            let advice = if advice.is_empty() { usual } else { format!("as root: {advice}") };
            found.problem(
                format_args!(
                    "making user namespaces does not work: {error}: an ordinary user has no containers"
                ),
                advice,
            );
        }
    }
}

/// A file system in memory that is attached nowhere.
pub(super) fn memory() -> io::Result<OwnedFd> {
    let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&fs)?;
    Ok(fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
}

/// The same, with a file system for the working directory. Only in a mount namespace of its own.
pub(super) fn enter_memory() -> io::Result<()> {
    let tree = memory()?;
    // Before Linux 6.15, layers have to be attached somewhere; who is in a directory does not see what comes above `/`.
    move_mount(&tree, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(rustix::process::fchdir(&tree)?)
}

fn overlay() -> io::Result<()> {
    enter_memory()?;
    let dirs = ["lower", "upper", "work"];
    dirs.iter().try_for_each(|dir| mkdir(*dir, Mode::RWXU))?;
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, dir) in ["lowerdir", "upperdir", "workdir"].into_iter().zip(dirs) {
        fsconfig_set_string(&fs, key, dir)?;
    }
    if !is_root_of_machine() {
        fsconfig_set_flag(&fs, "userxattr")?;
    }
    fsconfig_create(&fs)?;
    Ok(fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).map(drop)?)
}

/// Whether there is EROFS, and it takes files. This program is no image: who gets as far as to see that can mount one.
fn erofs() -> io::Result<()> {
    drop(fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)?);
    match loment_monitor::mounts_files(&PathBuf::from("/proc/self/exe")) {
        true => Ok(()),
        false => Err(io::Error::other("the kernel mounts them from devices only")),
    }
}

/// Maps the ids of a clone of what is mounted at a directory.
fn mapped(dir: &Path) -> io::Result<()> {
    let (wait, hold) = pipe_with(PipeFlags::CLOEXEC)?;
    let (pid, pidfd) = match clone3(CloneFlags::NEWUSER, None)? {
        Fork::Child => {
            drop(hold);
            let _ = rustix::io::read(&wait, &mut [0; 1]);
            loment_sys::process::exit_now(0)
        }
        Fork::Parent { pid, pidfd } => (pid, pidfd),
    };
    let proc = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let done = (|| {
        std::fs::write(proc.join("uid_map"), "0 100000 65536")?;
        std::fs::write(proc.join("gid_map"), "0 100000 65536")?;
        let users = File::open(proc.join("ns/user"))?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = open_tree(CWD, dir, flags)?;
        let attr = MountAttr { set: ATTR_IDMAP, userns: users.as_raw_fd() as u64, ..MountAttr::default() };
        set_attributes(tree.as_fd(), c"", false, &attr)
    })();
    drop(hold);
    let _ = loment_sys::wait::wait_exit(&pidfd);
    done
}

/// Asks for the generation of the rules, of which there are none in a new network namespace (linux/netfilter/nf_tables.h).
fn nf_tables() -> io::Result<()> {
    const NFNL_SUBSYS_NFTABLES: u16 = 10;
    const NFT_MSG_GETGEN: u16 = 16;
    const NLM_F_REQUEST: u16 = 1;
    unshare(CloneFlags::NEWNET)?;
    let socket =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::NETFILTER))?;
    let kind = (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETGEN;
    let mut message = Vec::new();
    message.extend_from_slice(&20_u32.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    // Sequence, port; family, version, resource.
    message.extend_from_slice(&[0; 12]);
    send(&socket, &message, SendFlags::empty())?;
    let mut answer = [0_u8; 4096];
    let (length, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    let number = |at: usize| answer.get(at..at + 4).and_then(|b| b.try_into().ok()).map(i32::from_ne_bytes);
    // NLMSG_ERROR, and its number behind the header.
    match (length >= 20 && answer[4..6] == 2_u16.to_ne_bytes(), number(16)) {
        (true, Some(error)) if error != 0 => Err(io::Error::from_raw_os_error(-error)),
        _ => Ok(()),
    }
}

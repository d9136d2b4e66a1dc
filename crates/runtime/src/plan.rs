//! From a specification to what will be done: everything that can be checked is checked before anything is made.

use std::collections::HashMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};

use loment_cgroup::CgroupPath;
use loment_sys::clone::CloneFlags;
use loment_sys::mount::ATTR_RDONLY;
use oci_spec::runtime::{
    Linux, LinuxNamespaceType, LinuxResources, LinuxSeccomp, Mount, PosixRlimitType, Process, Spec,
};
use rustix::process::{Resource, Rlimit};

use crate::annotations::Annotations;
use crate::capabilities::Sets;
use crate::devices::{self, Device};
use crate::error::{Context, invalid};
use crate::filter::Filter;
use crate::hooks::{self, Hooks};
use crate::identity::checked;
use crate::idmap::OtherOwners;
use crate::labels::Labels;
use crate::listener::Listener;
use crate::mount_label::MountLabel;
use crate::namespaces::Namespaces;
use crate::options::Options;
use crate::resctrl::Rdt;
use crate::scheduling::Scheduling;
use crate::{Error, network, systemd_v1};

/// One mount, parsed.
#[derive(Debug)]
pub(crate) struct MountPlan {
    pub(crate) destination: PathBuf,
    pub(crate) kind: String,
    pub(crate) source: PathBuf,
    pub(crate) options: Options,
    pub(crate) idmap: Option<OtherOwners>,
    /// It is made read-only when everything else is done: devices, and what is mounted below it, must get into it first.
    pub(crate) read_only_later: bool,
    /// It is systemd's v1 hierarchy, whatever it was to be.
    pub(crate) systemd_v1: bool,
}

/// The program of a container, or one more program in it.
#[derive(Debug)]
pub struct ProcessPlan {
    pub(crate) args: Vec<CString>,
    pub(crate) env: Vec<CString>,
    pub(crate) cwd: PathBuf,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    /// It has those of its creator instead.
    pub(crate) keep_groups: bool,
    pub(crate) umask: Option<u32>,
    pub(crate) capabilities: Sets,
    pub(crate) rlimits: Vec<(Resource, Rlimit)>,
    pub(crate) no_new_privileges: bool,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) filter: Option<Filter>,
    pub(crate) scheduling: Scheduling,
    pub(crate) labels: Labels,
    /// `Some((rows, columns))` for a terminal; zeroes leave the kernel's size.
    pub(crate) terminal: Option<(u16, u16)>,
}

/// Everything that will be done for one container.
#[derive(Debug)]
pub struct Plan {
    pub(crate) namespaces: Namespaces,
    pub(crate) root: Option<PathBuf>,
    pub(crate) read_only: bool,
    pub(crate) propagation: Option<(u64, bool)>,
    pub(crate) mounts: Vec<MountPlan>,
    /// Of what is mounted for it.
    pub(crate) label: Option<MountLabel>,
    pub(crate) devices: Vec<Device>,
    pub(crate) masked: Vec<PathBuf>,
    pub(crate) read_only_paths: Vec<PathBuf>,
    pub(crate) sysctl: Vec<(String, String)>,
    pub(crate) net_devices: Vec<loment_net::Move>,
    pub(crate) hostname: Option<String>,
    pub(crate) domainname: Option<String>,
    /// Programs of the caller's that run at points of its life.
    pub hooks: Hooks,
    /// The container's program; a container can be created without, but not started.
    pub process: Option<ProcessPlan>,
    /// What it gets of the processor's caches and memory bandwidth.
    pub rdt: Option<Rdt>,
    /// The group below its own that it manages itself and its program runs in.
    pub(crate) delegate: Option<CgroupPath>,
    /// The limits of its cgroup, the default device rules included.
    pub resources: LinuxResources,
}

impl Plan {
    /// Checks a specification. Relative paths in it are relative to `bundle`.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the field; [`Error::Unsupported`] names a part of the specification that is not done
    /// yet: it is refused, never skipped.
    pub fn new(spec: &Spec, bundle: &Path) -> Result<Self, Error> {
        check_version(spec.version())?;
        let none = Linux::default();
        let linux = spec.linux().as_ref().unwrap_or(&none);
        let label = MountLabel::new(linux, spec.annotations().as_ref())?;
        let namespaces = Namespaces::new(linux)?;
        let annotations = Annotations::new(spec.annotations().as_ref())?;
        let process = spec.process().as_ref();
        let process = process.map(|p| ProcessPlan::of_container(p, linux, &annotations)).transpose()?;
        if spec.hostname().is_some() && !namespaces.have(LinuxNamespaceType::Uts) {
            return Err(invalid("hostname", "it needs a uts namespace"));
        }
        let devices = devices::plan(linux.devices().as_deref().unwrap_or_default())?;
        let mut resources = linux.resources().clone().unwrap_or_default();
        if let Some(rules) = resources.devices_mut() {
            rules.extend(devices::default_rules());
        }
        let sysctl = sysctls(linux, &namespaces)?;
        let net_devices = network::plan(linux, &namespaces)?;
        let users = namespaces.have(LinuxNamespaceType::User);
        let mut hooks = Hooks::of(spec)?;
        if let Some(process) = &process {
            hooks::inherit(&mut hooks.start_container, &process.env);
        }
        if !hooks.create_container.is_empty() && namespaces.joined(LinuxNamespaceType::Mount).is_some() {
            // Their paths are the runtime's (config.md, "CreateContainer Hooks"), but what is found there would be somebody
            // else's file, run with every right.
            return Err(invalid(
                "hooks.createContainer",
                "they need a mount namespace of the container's own",
            ));
        }
        let mounts = spec.mounts().iter().flatten().map(|m| mount(m, bundle, linux, (users, label.as_ref())));
        let mut mounts = mounts.collect::<Result<Vec<_>, _>>()?;
        if let Some(path) = &annotations.systemd_v1 {
            systemd_v1::replace(&mut mounts, path, &namespaces)?;
        }
        Ok(Self {
            namespaces,
            root: spec.root().as_ref().map(|r| bundle.join(r.path())),
            read_only: spec.root().as_ref().and_then(|r| r.readonly()).unwrap_or(false),
            propagation: linux.rootfs_propagation().as_deref().map(propagation).transpose()?,
            mounts,
            label,
            devices,
            masked: paths("maskedPaths", linux.masked_paths().as_deref())?,
            read_only_paths: paths("readonlyPaths", linux.readonly_paths().as_deref())?,
            sysctl,
            net_devices,
            hostname: spec.hostname().clone(),
            domainname: spec.domainname().clone(),
            hooks,
            process,
            rdt: linux.intel_rdt().as_ref().map(Rdt::new).transpose()?,
            delegate: annotations.delegate,
            resources,
        })
    }

    /// Whether /dev is a directory of somebody else's.
    pub(crate) fn binds_dev(&self) -> bool {
        self.mounts.iter().any(|m| m.kind == "bind" && m.destination == Path::new("/dev"))
    }

    /// Whether the container gets (rather than shares) the namespace.
    pub(crate) fn makes(&self, flag: CloneFlags) -> bool {
        self.namespaces.new.contains(flag)
    }

    /// The namespaces that its first process makes, and is not made with: the root of one of control groups is the group its
    /// maker is in, and the directory of a new one's message queues belongs to its maker (`mqueue_get_inode` in the kernel's
    /// ipc/mqueue.c), which must be somebody the container's users know.
    pub(crate) fn made_by_itself(&self) -> CloneFlags {
        let late = match self.in_user_namespace() {
            true => CloneFlags::NEWCGROUP | CloneFlags::NEWIPC,
            false => CloneFlags::NEWCGROUP,
        };
        self.namespaces.new.without(self.namespaces.new.without(late))
    }

    /// The user outside who may make groups below the container's own: that of its program, where it has a user and a cgroup
    /// namespace and its groups are mounted writable (config-linux.md, "Cgroup ownership").
    pub fn cgroup_owner(&self) -> Option<u32> {
        let mounted = |m: &MountPlan| {
            matches!(m.kind.as_str(), "cgroup" | "cgroup2")
                && (m.options.attr.set & loment_sys::mount::ATTR_RDONLY == 0 || m.options.systemd)
                && !m.systemd_v1
        };
        let process = self.process.as_ref()?;
        if !self.makes(CloneFlags::NEWCGROUP) || !self.mounts.iter().any(mounted) {
            return None;
        }
        self.namespaces.mappings.as_ref()?.outside(process.uid)
    }

    /// Whether other processes see the one that becomes the container's first: it gets no pid namespace of its own.
    pub fn is_seen_by_others(&self) -> bool {
        !self.makes(CloneFlags::NEWPID)
    }

    /// Whether its users are not the host's.
    pub fn in_user_namespace(&self) -> bool {
        self.namespaces.have(LinuxNamespaceType::User)
    }
}

fn check_version(version: &str) -> Result<(), Error> {
    let major_minor: Vec<_> = version.splitn(3, '.').collect();
    match major_minor.as_slice() {
        ["1", minor, _] if minor.parse::<u32>().is_ok() => Ok(()),
        _ => Err(invalid("ociVersion", format!("{version:?} is not a 1.x.y version"))),
    }
}

fn propagation(text: &str) -> Result<(u64, bool), Error> {
    let options = Options::parse(&[text.to_owned()]);
    options
        .propagation
        .ok_or_else(|| invalid("linux.rootfsPropagation", format!("{text:?} is not a propagation")))
}

fn mount(
    m: &Mount,
    bundle: &Path,
    linux: &Linux,
    (users, label): (bool, Option<&MountLabel>),
) -> Result<MountPlan, Error> {
    let mut options = Options::parse(m.options().as_deref().unwrap_or_default());
    let kind = m.typ().clone().unwrap_or_default();
    let is_bind = options.bind.is_some() || kind == "bind";
    let destination = Path::new("/").join(m.destination());
    let field = || format!("mount {}", destination.display());
    let source = match m.source() {
        // Relative to the bundle (config.md, mounts.source).
        Some(s) if is_bind => bundle.join(s),
        Some(s) => s.clone(),
        None if is_bind => return Err(invalid(field(), "a bind mount needs a source")),
        None => PathBuf::from(&kind),
    };
    if !is_bind && kind.is_empty() {
        return Err(invalid(field(), "it has no type"));
    }
    options.check(is_bind).map_err(|reason| invalid(field(), reason))?;
    let idmap = OtherOwners::new(m, &options, is_bind, users, linux)?;
    let kind = if is_bind { "bind".to_owned() } else { kind };
    if let Some(label) = label {
        label.add_to(&kind, &mut options);
    }
    let read_only = options.attr.set & ATTR_RDONLY != 0;
    let read_only_later = read_only && !is_bind && destination == Path::new("/dev");
    if read_only_later {
        options.attr.set &= !ATTR_RDONLY;
    }
    Ok(MountPlan { destination, kind, source, options, idmap, read_only_later, systemd_v1: false })
}

fn paths(field: &str, list: Option<&[String]>) -> Result<Vec<PathBuf>, Error> {
    let absolute = |p: &String| match Path::new(p).is_absolute() {
        true => Ok(PathBuf::from(p)),
        false => Err(invalid(format!("linux.{field}"), format!("{p:?} is not absolute"))),
    };
    list.unwrap_or_default().iter().map(absolute).collect()
}

/// The kind of namespace that has a parameter of the kernel of its own; `None` for one of the machine's. Its key may have slashes.
pub fn namespace_of_sysctl(key: &str) -> Option<LinuxNamespaceType> {
    const IPC: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    let key = key.replace('/', ".");
    match key.as_str() {
        key if IPC.contains(&key) || key.starts_with("fs.mqueue.") => Some(LinuxNamespaceType::Ipc),
        key if key.starts_with("net.") => Some(LinuxNamespaceType::Network),
        "kernel.domainname" => Some(LinuxNamespaceType::Uts),
        _ => None,
    }
}

/// Only keys that belong to a namespace of the container are written: the others are the host's.
fn sysctls(linux: &Linux, namespaces: &Namespaces) -> Result<Vec<(String, String)>, Error> {
    let mut out = Vec::new();
    for (key, value) in linux.sysctl().iter().flatten() {
        let kind = namespace_of_sysctl(key)
            .ok_or_else(|| invalid("linux.sysctl", format!("{key} is not separate in a namespace")))?;
        if !namespaces.have(kind) {
            return Err(invalid(
                "linux.sysctl",
                format!("{key} needs a {kind} namespace of the container's own"),
            ));
        }
        if key.split(['.', '/']).any(|c| c.is_empty() || c == "..") {
            return Err(invalid("linux.sysctl", format!("{key:?} is not a key")));
        }
        // A name with slashes may hold dots (interface names); a dotted one may not.
        out.push((if key.contains('/') { key.clone() } else { key.replace('.', "/") }, value.clone()));
    }
    Ok(out)
}

/// Of a variable that is given twice the last value counts, as for runc and crun; most programs would find the first.
fn environment(entries: &[String]) -> Result<Vec<CString>, Error> {
    let name = |entry: &String| entry.split('=').next().unwrap_or_default().to_owned();
    let mut last = HashMap::new();
    last.extend(entries.iter().enumerate().map(|(n, entry)| (name(entry), n)));
    let kept = entries.iter().enumerate().filter(|(n, entry)| last.get(&name(entry)) == Some(n));
    kept.map(|(_, entry)| c_string("process.env", entry)).collect()
}

fn c_string(field: &str, text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| invalid(field, format!("{text:?} contains a NUL")))
}

impl ProcessPlan {
    /// What of it will be left out, as the specification asks for (config.md, "Linux Process", capabilities). A process in a
    /// user namespace has other capabilities than its creator.
    ///
    /// # Errors
    /// [`Error::Failed`] when the creator's own capabilities cannot be read.
    pub fn warnings(&self, in_user_namespace: bool) -> Result<Vec<String>, Error> {
        let own = rustix::thread::capabilities(None).context("read", "our own capabilities")?;
        let own = if in_user_namespace { u64::MAX } else { own.permitted.bits() };
        let missing = self.capabilities.ungrantable(own);
        let text = || format!("capabilities that cannot be granted are left out: {}", missing.join(", "));
        Ok((!missing.is_empty()).then(text).into_iter().collect())
    }

    /// Who answers the questions of its seccomp filter, if it asks any.
    pub(crate) fn listener(&self) -> Option<&Listener> {
        self.filter.as_ref()?.listener.as_ref()
    }

    /// As [`ProcessPlan::new`], with everything that a specification says for all programs of its container.
    fn of_container(p: &Process, linux: &Linux, annotations: &Annotations) -> Result<Self, Error> {
        let mut plan = Self::new(p, linux.seccomp().as_ref(), annotations)?;
        plan.scheduling.of_container(linux)?;
        Ok(plan)
    }

    /// Checks a process that is to enter a container with this filter and these annotations, and compiles the filter.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn to_enter(
        p: &Process,
        seccomp: Option<&LinuxSeccomp>,
        annotations: Option<&HashMap<String, String>>,
    ) -> Result<Self, Error> {
        Self::new(p, seccomp, &Annotations::new(annotations)?)
    }

    fn new(p: &Process, seccomp: Option<&LinuxSeccomp>, annotations: &Annotations) -> Result<Self, Error> {
        let args = p.args().as_deref().unwrap_or_default();
        if args.is_empty() {
            return Err(invalid("process.args", "it is empty"));
        }
        if !p.cwd().is_absolute() {
            return Err(invalid("process.cwd", format!("{:?} is not absolute", p.cwd())));
        }
        let user = p.user();
        let groups = user.additional_gids().iter().flatten();
        let size = p.console_size().as_ref().map_or((0, 0), |s| (s.height() as u16, s.width() as u16));
        Ok(Self {
            args: args.iter().map(|a| c_string("process.args", a)).collect::<Result<_, _>>()?,
            env: environment(p.env().as_deref().unwrap_or_default())?,
            cwd: p.cwd().clone(),
            uid: checked("process.user.uid", user.uid())?,
            gid: checked("process.user.gid", user.gid())?,
            groups: groups.map(|&g| checked("process.user.additionalGids", g)).collect::<Result<_, _>>()?,
            keep_groups: annotations.keep_groups,
            umask: user.umask(),
            capabilities: Sets::new(p.capabilities().as_ref()),
            rlimits: rlimits(p)?,
            no_new_privileges: p.no_new_privileges().unwrap_or(false),
            oom_score_adj: p.oom_score_adj(),
            filter: Filter::new(seccomp, &annotations.seccomp)?,
            scheduling: Scheduling::new(p)?,
            labels: Labels::new(p)?,
            terminal: p.terminal().unwrap_or(false).then_some(size),
        })
    }
}

fn rlimits(p: &Process) -> Result<Vec<(Resource, Rlimit)>, Error> {
    let mut out: Vec<(Resource, Rlimit)> = Vec::new();
    for r in p.rlimits().iter().flatten() {
        let resource = match r.typ() {
            PosixRlimitType::RlimitCpu => Resource::Cpu,
            PosixRlimitType::RlimitFsize => Resource::Fsize,
            PosixRlimitType::RlimitData => Resource::Data,
            PosixRlimitType::RlimitStack => Resource::Stack,
            PosixRlimitType::RlimitCore => Resource::Core,
            PosixRlimitType::RlimitRss => Resource::Rss,
            PosixRlimitType::RlimitNproc => Resource::Nproc,
            PosixRlimitType::RlimitNofile => Resource::Nofile,
            PosixRlimitType::RlimitMemlock => Resource::Memlock,
            PosixRlimitType::RlimitAs => Resource::As,
            PosixRlimitType::RlimitLocks => Resource::Locks,
            PosixRlimitType::RlimitSigpending => Resource::Sigpending,
            PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
            PosixRlimitType::RlimitNice => Resource::Nice,
            PosixRlimitType::RlimitRtprio => Resource::Rtprio,
            PosixRlimitType::RlimitRttime => Resource::Rttime,
        };
        if out.iter().any(|(seen, _)| *seen == resource) {
            return Err(invalid("process.rlimits", format!("{} is given twice", r.typ())));
        }
        if r.soft() > r.hard() {
            return Err(invalid(
                "process.rlimits",
                format!("{}: soft limit {} is above hard limit {}", r.typ(), r.soft(), r.hard()),
            ));
        }
        let limit = |n: u64| (n != u64::MAX).then_some(n);
        out.push((resource, Rlimit { current: limit(r.soft()), maximum: limit(r.hard()) }));
    }
    Ok(out)
}

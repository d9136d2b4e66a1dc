//! Profiles as engines keep them: rules with conditions on capabilities, architecture and kernel, settled
//! once per container.

mod default;
mod json;

use std::borrow::Cow;
use std::path::PathBuf;
use std::str::FromStr;

use oci_spec::runtime::{
    Arch as OciArch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompFilterFlag, LinuxSyscall,
};

pub use json::ProfileError;

use crate::arch::Arch;
use crate::bpf::Filter;
use crate::caps::Caps;
use crate::compile::{self, CompileError};
use crate::rule::{Cond, Op};
use crate::syscall::Syscall;

/// A profile before it is settled for one container.
#[derive(Clone, Debug)]
pub struct Profile {
    default_action: LinuxSeccompAction,
    default_errno: Option<u32>,
    architectures: Architectures,
    flags: Option<Vec<LinuxSeccompFilterFlag>>,
    listener_path: Option<PathBuf>,
    listener_metadata: Option<String>,
    groups: Cow<'static, [Group]>,
}

/// The profile used where none is named: see the table itself.
pub fn default_profile() -> &'static Profile {
    &default::PROFILE
}

/// Which architectures a profile covers.
#[derive(Clone, Debug)]
enum Architectures {
    /// The host's own and those its kernel runs beside it.
    Host,
    /// Those listed, in the plain OCI form.
    Listed(Vec<OciArch>),
    /// `archMap`: by the host's own.
    Mapped(Vec<(OciArch, Vec<OciArch>)>),
}

/// Calls with one action.
#[derive(Clone, Debug)]
struct Group {
    calls: Calls,
    action: LinuxSeccompAction,
    errno: Option<u32>,
    conds: Cow<'static, [Cond]>,
    gate: Gate,
}

#[derive(Clone, Debug)]
enum Calls {
    Known(&'static [Syscall]),
    Named(Vec<String>),
}

/// When a group holds.
#[derive(Clone, Copy, Debug)]
struct Gate {
    /// The container has all of these.
    with: Caps,
    /// The container has none of these.
    without: Caps,
    /// The host is one of these; `None` is any.
    on: Option<ArchSet>,
    /// The host is none of these.
    not_on: ArchSet,
    /// The host's kernel is not older than this.
    since: Option<KernelVersion>,
    /// The host's kernel is older than this.
    before: Option<KernelVersion>,
}

/// Architectures that have a table here; a profile may name others, which are no host of ours.
#[derive(Clone, Copy, Debug, Default)]
struct ArchSet(u8);

impl ArchSet {
    const fn of(archs: &[Arch]) -> ArchSet {
        let (mut set, mut at) = (0, 0);
        while at < archs.len() {
            set |= 1 << archs[at].index();
            at += 1;
        }
        ArchSet(set)
    }

    const fn contains(self, arch: Arch) -> bool {
        self.0 & 1 << arch.index() != 0
    }
}

impl Gate {
    const ALWAYS: Gate = Gate {
        with: Caps::EMPTY,
        without: Caps::EMPTY,
        on: None,
        not_on: ArchSet(0),
        since: None,
        before: None,
    };

    fn is_open(&self, caps: Caps, arch: Arch, kernel: KernelVersion) -> bool {
        caps.contains(self.with)
            && !caps.intersects(self.without)
            && self.on.is_none_or(|on| on.contains(arch))
            && !self.not_on.contains(arch)
            && self.since.is_none_or(|since| kernel >= since)
            && self.before.is_none_or(|before| kernel < before)
    }
}

/// A kernel's version, as far as `minKernel` looks: `5.10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
}

impl KernelVersion {
    /// The version of two numbers.
    pub const fn new(major: u32, minor: u32) -> KernelVersion {
        KernelVersion { major, minor }
    }
}

/// Text that does not begin with two numbers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("kernel version {0:?} does not begin with two numbers as in 5.10")]
pub struct KernelVersionError(String);

impl FromStr for KernelVersion {
    type Err = KernelVersionError;

    /// Reads `5.10`, and the `release` of `uname(2)`: `6.1.0-39-amd64`.
    fn from_str(text: &str) -> Result<KernelVersion, KernelVersionError> {
        let (major, rest) = text.split_once('.').unwrap_or((text, ""));
        let minor = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        match (major.parse(), minor.parse()) {
            (Ok(major), Ok(minor)) => Ok(KernelVersion { major, minor }),
            _ => Err(KernelVersionError(text.to_owned())),
        }
    }
}

impl Profile {
    /// Reads a profile file: the engines' form (`archMap`, `includes`, `excludes`), or the plain OCI form
    /// (`architectures`). As other engines do, fields that are not known are passed over.
    pub fn parse(text: &[u8]) -> Result<Profile, ProfileError> {
        json::parse(text)
    }

    /// The `linux.seccomp` section for a container: `caps` is its bounding set, `arch` the host's own
    /// architecture.
    pub fn resolve(&self, caps: Caps, arch: Arch, kernel: KernelVersion) -> LinuxSeccomp {
        let syscalls: Vec<_> = self.open_groups(caps, arch, kernel).map(Group::to_oci).collect();
        let mut section = LinuxSeccomp::default();
        section
            .set_default_action(self.default_action)
            .set_default_errno_ret(self.default_errno)
            .set_flags(self.flags.clone())
            .set_listener_path(self.listener_path.clone())
            .set_listener_metadata(self.listener_metadata.clone())
            .set_syscalls(Some(syscalls));
        let architectures = self.architectures(arch);
        if !architectures.is_empty() {
            section.set_architectures(Some(architectures));
        }
        section
    }

    /// What [`compile`](crate::compile()) makes of [`Self::resolve`]'s section, without the section: for
    /// callers that need only the filter.
    pub fn compile(&self, caps: Caps, arch: Arch, kernel: KernelVersion) -> Result<Filter, CompileError> {
        let listed = self.architectures(arch);
        let mut table = compile::start(self.default_action, self.default_errno, arch, &listed)?;
        for group in self.open_groups(caps, arch, kernel) {
            let action = compile::action(group.action, group.errno, || group.place())?;
            table.note_action(action);
            match &group.calls {
                Calls::Known(calls) => calls.iter().for_each(|call| table.add(*call, action, &group.conds)),
                Calls::Named(names) => names
                    .iter()
                    .filter_map(|name| Syscall::from_name(name))
                    .for_each(|call| table.add(call, action, &group.conds)),
            }
        }
        table.finish(self.flags.as_deref())
    }

    fn open_groups(&self, caps: Caps, arch: Arch, kernel: KernelVersion) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(move |group| group.gate.is_open(caps, arch, kernel))
    }

    fn architectures(&self, host: Arch) -> Vec<OciArch> {
        match &self.architectures {
            Architectures::Host => host.runnable().iter().map(|arch| arch.oci()).collect(),
            Architectures::Listed(listed) => listed.clone(),
            Architectures::Mapped(map) => match map.iter().find(|(arch, _)| *arch == host.oci()) {
                Some((arch, others)) => std::iter::once(arch).chain(others).copied().collect(),
                None => Vec::new(),
            },
        }
    }
}

impl Group {
    fn place(&self) -> String {
        match &self.calls {
            Calls::Known(calls) => compile::place(calls.iter().map(|call| call.name())),
            Calls::Named(names) => compile::place(names.iter().map(String::as_str)),
        }
    }

    fn to_oci(&self) -> LinuxSyscall {
        let names = match &self.calls {
            Calls::Known(calls) => calls.iter().map(|call| call.name().to_owned()).collect(),
            Calls::Named(names) => names.clone(),
        };
        let mut rule = LinuxSyscall::default();
        rule.set_names(names).set_action(self.action).set_errno_ret(self.errno);
        if !self.conds.is_empty() {
            rule.set_args(Some(self.conds.iter().map(arg_to_oci).collect()));
        }
        rule
    }
}

fn arg_to_oci(cond: &Cond) -> LinuxSeccompArg {
    let arg =
        LinuxSeccompArgBuilder::default().index(usize::from(cond.index)).value(cond.value).op(cond.op.oci());
    // The second value is read by one operator only; runtimes differ in whether they accept it elsewhere.
    let arg = if cond.op == Op::MaskedEq { arg.value_two(cond.value_two) } else { arg };
    arg.build().expect("every field has a default")
}

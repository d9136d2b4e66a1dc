//! Capability sets, as far as a profile's conditions need them.

use oci_spec::runtime::{Capabilities, Capability};

/// A set of capabilities, one bit each, numbered as in `linux/capability.h` (Linux 5.9 and later).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Caps(u64);

/// A capability name this version does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown capability {0:?}")]
pub struct UnknownCapability(pub String);

/// Names by number.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

impl Caps {
    /// No capability.
    pub const EMPTY: Caps = Caps(0);
    /// Every capability known here.
    pub const ALL: Caps = Caps((1 << NAMES.len()) - 1);

    pub(crate) const DAC_READ_SEARCH: Caps = Caps(1 << 2);
    pub(crate) const SYS_MODULE: Caps = Caps(1 << 16);
    pub(crate) const SYS_RAWIO: Caps = Caps(1 << 17);
    pub(crate) const SYS_CHROOT: Caps = Caps(1 << 18);
    pub(crate) const SYS_PTRACE: Caps = Caps(1 << 19);
    pub(crate) const SYS_PACCT: Caps = Caps(1 << 20);
    pub(crate) const SYS_ADMIN: Caps = Caps(1 << 21);
    pub(crate) const SYS_TIME: Caps = Caps(1 << 25);
    pub(crate) const SYS_TTY_CONFIG: Caps = Caps(1 << 26);
    pub(crate) const AUDIT_WRITE: Caps = Caps(1 << 29);
    pub(crate) const PERFMON: Caps = Caps(1 << 38);
    pub(crate) const BPF: Caps = Caps(1 << 39);

    /// The set of the capabilities named, in the kernel's spelling (`CAP_CHOWN`).
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Caps, UnknownCapability> {
        names.into_iter().try_fold(Caps::EMPTY, |caps, name| {
            match NAMES.iter().position(|known| *known == name) {
                Some(number) => Ok(caps.union(Caps(1 << number))),
                None => Err(UnknownCapability(name.to_owned())),
            }
        })
    }

    /// Both sets together.
    pub const fn union(self, other: Caps) -> Caps {
        Caps(self.0 | other.0)
    }

    /// Whether every capability of `other` is in this set.
    pub const fn contains(self, other: Caps) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the sets have a capability in common.
    pub const fn intersects(self, other: Caps) -> bool {
        self.0 & other.0 != 0
    }
}

impl From<&Capabilities> for Caps {
    fn from(set: &Capabilities) -> Caps {
        set.iter().fold(Caps::EMPTY, |caps, one| caps.union(Caps(1 << number(*one))))
    }
}

const fn number(cap: Capability) -> u8 {
    use Capability::*;
    match cap {
        Chown => 0,
        DacOverride => 1,
        DacReadSearch => 2,
        Fowner => 3,
        Fsetid => 4,
        Kill => 5,
        Setgid => 6,
        Setuid => 7,
        Setpcap => 8,
        LinuxImmutable => 9,
        NetBindService => 10,
        NetBroadcast => 11,
        NetAdmin => 12,
        NetRaw => 13,
        IpcLock => 14,
        IpcOwner => 15,
        SysModule => 16,
        SysRawio => 17,
        SysChroot => 18,
        SysPtrace => 19,
        SysPacct => 20,
        SysAdmin => 21,
        SysBoot => 22,
        SysNice => 23,
        SysResource => 24,
        SysTime => 25,
        SysTtyConfig => 26,
        Mknod => 27,
        Lease => 28,
        AuditWrite => 29,
        AuditControl => 30,
        Setfcap => 31,
        MacOverride => 32,
        MacAdmin => 33,
        Syslog => 34,
        WakeAlarm => 35,
        BlockSuspend => 36,
        AuditRead => 37,
        Perfmon => 38,
        Bpf => 39,
        CheckpointRestore => 40,
    }
}

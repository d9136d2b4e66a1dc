//! Capability sets as the kernel wants them.

use std::io;

use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities};
use rustix::thread::{CapabilitySet as Bits, CapabilitySets};

/// Capabilities in the kernel's order: the index is the number (linux/capability.h).
const ORDER: [Capability; 41] = {
    use Capability::*;
    [
        Chown,
        DacOverride,
        DacReadSearch,
        Fowner,
        Fsetid,
        Kill,
        Setgid,
        Setuid,
        Setpcap,
        LinuxImmutable,
        NetBindService,
        NetBroadcast,
        NetAdmin,
        NetRaw,
        IpcLock,
        IpcOwner,
        SysModule,
        SysRawio,
        SysChroot,
        SysPtrace,
        SysPacct,
        SysAdmin,
        SysBoot,
        SysNice,
        SysResource,
        SysTime,
        SysTtyConfig,
        Mknod,
        Lease,
        AuditWrite,
        AuditControl,
        Setfcap,
        MacOverride,
        MacAdmin,
        Syslog,
        WakeAlarm,
        BlockSuspend,
        AuditRead,
        Perfmon,
        Bpf,
        CheckpointRestore,
    ]
};

/// A set of capabilities as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySet(pub u64);

impl CapabilitySet {
    /// The bits of a set from the specification.
    pub fn of(set: &Capabilities) -> Self {
        Self(ORDER.iter().enumerate().filter(|(_, c)| set.contains(c)).fold(0, |m, (i, _)| m | 1 << i))
    }

    /// The kernel's number of a capability given with or without `CAP_`.
    pub fn parse(name: &str) -> Option<Capability> {
        let upper = name.to_ascii_uppercase();
        let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
        ORDER.iter().find(|c| c.to_string() == short).copied()
    }

    /// Every capability, in the kernel's order.
    pub fn all() -> &'static [Capability] {
        &ORDER
    }
}

/// The five sets of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sets {
    pub(crate) bounding: CapabilitySet,
    effective: CapabilitySet,
    permitted: CapabilitySet,
    inheritable: CapabilitySet,
    ambient: CapabilitySet,
    /// Asked for, but nobody inherits what is not in the bounding set.
    unbounded: CapabilitySet,
}

impl Sets {
    pub(crate) fn new(caps: Option<&LinuxCapabilities>) -> Self {
        let Some(caps) = caps else { return Self::default() };
        let bits = |c: &Option<Capabilities>| c.as_ref().map_or(CapabilitySet(0), CapabilitySet::of);
        // Inheritable stays empty unless asked for by name (CVE-2022-29162).
        let (bounding, inheritable) = (bits(caps.bounding()), bits(caps.inheritable()));
        Self {
            bounding,
            effective: bits(caps.effective()),
            permitted: bits(caps.permitted()),
            inheritable: CapabilitySet(inheritable.0 & bounding.0),
            ambient: bits(caps.ambient()),
            unbounded: CapabilitySet(inheritable.0 & !bounding.0),
        }
    }

    /// The names of those that a creator who holds `own` cannot give.
    pub(crate) fn ungrantable(&self, own: u64) -> Vec<String> {
        let asked = self.effective.0 | self.permitted.0 | self.ambient.0;
        let missing = asked & !own | self.unbounded.0;
        let names = ORDER.iter().enumerate().filter(|(n, _)| missing & 1 << n != 0);
        names.map(|(_, capability)| format!("CAP_{capability}")).collect()
    }

    /// Drops everything else from the bounding set. Needs CAP_SETPCAP, so it comes before [`Sets::apply`].
    pub(crate) fn bound(&self) -> io::Result<()> {
        for number in 0..64 {
            if self.bounding.0 & 1 << number == 0 {
                match rustix::thread::remove_capability_from_bounding_set(Bits::from_bits_retain(1 << number))
                {
                    Ok(()) => {}
                    // Past the last capability of this kernel.
                    Err(rustix::io::Errno::INVAL) => break,
                    Err(e) => return Err(e.into()),
                }
            }
        }
        Ok(())
    }

    /// Sets the thread's sets, with CAP_SYS_ADMIN besides where it is still needed to load a filter. What the creator itself
    /// does not hold cannot be given and is left out, as the specification asks (config.md, capabilities: a warning, not an
    /// error).
    pub(crate) fn apply(&self, admin: bool) -> io::Result<()> {
        match rustix::thread::clear_ambient_capability_set() {
            // Before Linux 4.3 there is no ambient set.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(e) => return Err(e.into()),
        }
        let own = rustix::thread::capabilities(None)?.permitted.bits();
        let more = if admin { SYS_ADMIN } else { 0 };
        set(self.effective.0 | more, self.permitted.0 | more, self.inheritable.0, own)?;
        if admin { Ok(()) } else { self.raise_ambient(own) }
    }

    /// Gives up what [`Sets::apply`] left besides. A filter has been loaded: no more is done than must be.
    pub(crate) fn drop_admin(&self) -> io::Result<()> {
        let own = rustix::thread::capabilities(None)?.permitted.bits();
        set(self.effective.0, self.permitted.0, self.inheritable.0, own)?;
        self.raise_ambient(own)
    }

    fn raise_ambient(&self, own: u64) -> io::Result<()> {
        for number in 0..ORDER.len() {
            let bit = self.ambient.0 & self.permitted.0 & self.inheritable.0 & own & 1 << number;
            if bit != 0 {
                rustix::thread::configure_capability_in_ambient_set(Bits::from_bits_retain(bit), true)?;
            }
        }
        Ok(())
    }
}

/// linux/capability.h
const SYS_ADMIN: u64 = 1 << 21;

fn set(effective: u64, permitted: u64, inheritable: u64, own: u64) -> io::Result<()> {
    let bits = |set: u64| Bits::from_bits_retain(set & own);
    let sets = CapabilitySets {
        effective: bits(effective),
        permitted: bits(permitted),
        inheritable: bits(inheritable),
    };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernels() {
        for (name, number) in
            [("CAP_CHOWN", 0), ("net_raw", 13), ("SYS_ADMIN", 21), ("CAP_CHECKPOINT_RESTORE", 40)]
        {
            let capability = CapabilitySet::parse(name).unwrap();
            assert_eq!(CapabilitySet::of(&[capability].into()).0, 1 << number, "{name}");
        }
        assert!(CapabilitySet::parse("CAP_FOO").is_none());
    }
}

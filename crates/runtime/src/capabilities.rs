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
}

impl Sets {
    pub(crate) fn new(caps: Option<&LinuxCapabilities>) -> Self {
        let Some(caps) = caps else { return Self::default() };
        let bits = |c: &Option<Capabilities>| c.as_ref().map_or(CapabilitySet(0), CapabilitySet::of);
        // Inheritable stays empty unless asked for by name (CVE-2022-29162).
        Self {
            bounding: bits(caps.bounding()),
            effective: bits(caps.effective()),
            permitted: bits(caps.permitted()),
            inheritable: bits(caps.inheritable()),
            ambient: bits(caps.ambient()),
        }
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

    /// Sets the thread's sets. What the creator itself does not hold cannot be given and is left out, as the
    /// specification asks (config.md, capabilities: a warning, not an error).
    pub(crate) fn apply(&self) -> io::Result<()> {
        let own = rustix::thread::capabilities(None)?.permitted.bits();
        let bits = |s: CapabilitySet| Bits::from_bits_retain(s.0 & own);
        rustix::thread::set_capabilities(
            None,
            CapabilitySets {
                effective: bits(self.effective),
                permitted: bits(self.permitted),
                inheritable: bits(self.inheritable),
            },
        )?;
        match rustix::thread::clear_ambient_capability_set() {
            Ok(()) => {}
            // Before Linux 4.3 there is no ambient set.
            Err(rustix::io::Errno::INVAL) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
        for number in 0..ORDER.len() {
            let bit = self.ambient.0 & self.permitted.0 & self.inheritable.0 & own & 1 << number;
            if bit != 0 {
                rustix::thread::configure_capability_in_ambient_set(Bits::from_bits_retain(bit), true)?;
            }
        }
        Ok(())
    }
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

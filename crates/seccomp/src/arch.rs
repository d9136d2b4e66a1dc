//! The architectures a filter can hold.

use oci_spec::runtime::Arch as OciArch;

/// A system call convention with its own numbers: what libseccomp calls an architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86, also as a process of an x86_64 kernel.
    X86,
    /// x86_64 with 32-bit pointers: the x86_64 entry, numbers with bit 30 set.
    X32,
    /// 64-bit Arm.
    Aarch64,
    /// 32-bit Arm (EABI), also as a process of an aarch64 kernel.
    Arm,
}

impl Arch {
    /// Every architecture, in the column order of the system call table.
    pub const ALL: [Arch; 5] = [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm];

    /// The architecture this program was built for; `None` where no table exists.
    pub const fn native() -> Option<Arch> {
        if cfg!(all(target_arch = "x86_64", target_pointer_width = "32")) {
            Some(Arch::X32)
        } else if cfg!(target_arch = "x86_64") {
            Some(Arch::X86_64)
        } else if cfg!(target_arch = "x86") {
            Some(Arch::X86)
        } else if cfg!(target_arch = "aarch64") {
            Some(Arch::Aarch64)
        } else if cfg!(target_arch = "arm") {
            Some(Arch::Arm)
        } else {
            None
        }
    }

    /// The value of `seccomp_data.arch` (`AUDIT_ARCH_*` of `linux/audit.h`). x32 shares x86_64's.
    pub const fn audit(self) -> u32 {
        match self {
            Arch::X86_64 | Arch::X32 => 0xc000_003e,
            Arch::X86 => 0x4000_0003,
            Arch::Aarch64 => 0xc000_00b7,
            Arch::Arm => 0x4000_0028,
        }
    }

    /// Whether argument rules compare all 64 bits. On the others they compare the low half only, of the
    /// argument and of the rule's value, as libseccomp does (x32 included).
    pub const fn has_64bit_args(self) -> bool {
        matches!(self, Arch::X86_64 | Arch::Aarch64)
    }

    /// The bit that every number of this architecture carries.
    pub const fn number_bit(self) -> u32 {
        match self {
            Arch::X32 => X32_BIT,
            _ => 0,
        }
    }

    /// The architectures whose programs a kernel of this one can run, itself first.
    pub const fn runnable(self) -> &'static [Arch] {
        match self {
            Arch::X86_64 => &[Arch::X86_64, Arch::X86, Arch::X32],
            Arch::X86 => &[Arch::X86],
            // An x32 program is a program of an x86_64 kernel.
            Arch::X32 => &[Arch::X32, Arch::X86_64, Arch::X86],
            Arch::Aarch64 => &[Arch::Aarch64, Arch::Arm],
            Arch::Arm => &[Arch::Arm],
        }
    }

    /// The name the profile files use in `includes.arches` (that of libseccomp's Go binding).
    pub const fn profile_name(self) -> &'static str {
        match self {
            Arch::X86_64 => "amd64",
            Arch::X86 => "x86",
            Arch::X32 => "x32",
            Arch::Aarch64 => "arm64",
            Arch::Arm => "arm",
        }
    }

    /// The name in `config.json`.
    pub const fn oci(self) -> OciArch {
        match self {
            Arch::X86_64 => OciArch::ScmpArchX86_64,
            Arch::X86 => OciArch::ScmpArchX86,
            Arch::X32 => OciArch::ScmpArchX32,
            Arch::Aarch64 => OciArch::ScmpArchAarch64,
            Arch::Arm => OciArch::ScmpArchArm,
        }
    }

    /// The architecture a name in `config.json` means on a host; `None` for one without a table here.
    pub const fn from_oci(name: OciArch, host: Arch) -> Option<Arch> {
        match name {
            OciArch::ScmpArchNative => Some(host),
            OciArch::ScmpArchX86_64 => Some(Arch::X86_64),
            OciArch::ScmpArchX86 => Some(Arch::X86),
            OciArch::ScmpArchX32 => Some(Arch::X32),
            OciArch::ScmpArchAarch64 => Some(Arch::Aarch64),
            OciArch::ScmpArchArm => Some(Arch::Arm),
            _ => None,
        }
    }

    /// Column in the system call table.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// `__X32_SYSCALL_BIT` of `asm/unistd.h`.
pub(crate) const X32_BIT: u32 = 0x4000_0000;

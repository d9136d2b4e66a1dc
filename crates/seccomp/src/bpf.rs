//! The program that is loaded, and its form in a cache file.

use std::ops::BitOr;

/// `BPF_MAXINSNS`: the kernel refuses longer programs.
pub const MAX_INSTRUCTIONS: usize = 4096;

/// One instruction, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when a comparison holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// Constant, offset or distance.
    pub k: u32,
}

/// Opcodes of classic BPF that seccomp accepts and this crate emits (`linux/bpf_common.h`).
pub(crate) mod op {
    /// Load a 32-bit word of `seccomp_data`.
    pub(crate) const LOAD: u16 = 0x20;
    /// And the accumulator with a constant.
    pub(crate) const AND: u16 = 0x54;
    /// Jump always, distance in `k`.
    pub(crate) const JUMP: u16 = 0x05;
    pub(crate) const JEQ: u16 = 0x15;
    pub(crate) const JGT: u16 = 0x25;
    pub(crate) const JGE: u16 = 0x35;
    /// Return a constant.
    pub(crate) const RETURN: u16 = 0x06;
}

/// Flags of `seccomp(SECCOMP_SET_MODE_FILTER)` (`linux/seccomp.h`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FilterFlags(u32);

impl FilterFlags {
    /// Apply to every thread of the process.
    pub const TSYNC: FilterFlags = FilterFlags(1);
    /// Log every action but allow.
    pub const LOG: FilterFlags = FilterFlags(1 << 1);
    /// Leave the speculative store bypass mitigation off.
    pub const SPEC_ALLOW: FilterFlags = FilterFlags(1 << 2);
    /// Return a listener descriptor.
    pub const NEW_LISTENER: FilterFlags = FilterFlags(1 << 3);
    /// Report a failed [`Self::TSYNC`] as ESRCH; the kernel wants it beside a listener (5.7).
    pub const TSYNC_ESRCH: FilterFlags = FilterFlags(1 << 4);
    /// Let only fatal signals interrupt a call that the listener has received (5.19).
    pub const WAIT_KILLABLE_RECV: FilterFlags = FilterFlags(1 << 5);

    /// The bits as the kernel takes them.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether every flag of `other` is set.
    pub const fn contains(self, other: FilterFlags) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) const fn with(self, other: FilterFlags, condition: bool) -> FilterFlags {
        if condition { FilterFlags(self.0 | other.0) } else { self }
    }

    pub(crate) const fn without(self, other: FilterFlags) -> FilterFlags {
        FilterFlags(self.0 & !other.0)
    }
}

impl BitOr for FilterFlags {
    type Output = FilterFlags;

    fn bitor(self, other: FilterFlags) -> FilterFlags {
        FilterFlags(self.0 | other.0)
    }
}

/// A compiled filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The program, at most [`MAX_INSTRUCTIONS`] long.
    pub instructions: Vec<Instruction>,
    /// What to load it with.
    pub flags: FilterFlags,
}

/// First bytes of a cached filter; changes with the format or with what the compiler means by a profile.
const MAGIC: [u8; 8] = *b"lomentS1";

/// Why bytes are not a cached filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterBytesError {
    /// Wrong length or first bytes.
    #[error("cached seccomp filter: not in this version's format, compile it again")]
    Format,
    /// Flags this version does not know.
    #[error("cached seccomp filter: unknown flags {0:#x}, compile it again")]
    Flags(u32),
    /// An instruction the compiler does not emit, or a jump out of the program.
    #[error("cached seccomp filter: bad instruction {0}, compile it again")]
    Instruction(usize),
}

impl Filter {
    /// The filter as bytes for a cache file: magic, flags, then each instruction as the kernel lays it out
    /// on a little-endian machine.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.instructions.len() * 8);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.flags.bits().to_le_bytes());
        for instruction in &self.instructions {
            bytes.extend_from_slice(&instruction.code.to_le_bytes());
            bytes.extend_from_slice(&[instruction.jt, instruction.jf]);
            bytes.extend_from_slice(&instruction.k.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote. A program that jumps out of itself, or that could not have come
    /// from the compiler, is refused; that it means the right profile is for the cache's key to say.
    pub fn from_bytes(bytes: &[u8]) -> Result<Filter, FilterBytesError> {
        let (header, body) = bytes.split_at_checked(HEADER).ok_or(FilterBytesError::Format)?;
        let (magic, flags) = header.split_at(MAGIC.len());
        let (records, rest) = body.as_chunks::<8>();
        if magic != MAGIC || !rest.is_empty() || !(1..=MAX_INSTRUCTIONS).contains(&records.len()) {
            return Err(FilterBytesError::Format);
        }
        let flags = u32::from_le_bytes(flags.try_into().map_err(|_| FilterBytesError::Format)?);
        if flags >= 1 << 6 {
            return Err(FilterBytesError::Flags(flags));
        }
        let instructions: Vec<_> = records
            .iter()
            .map(|&[c0, c1, jt, jf, k0, k1, k2, k3]| Instruction {
                code: u16::from_le_bytes([c0, c1]),
                jt,
                jf,
                k: u32::from_le_bytes([k0, k1, k2, k3]),
            })
            .collect();
        match instructions.iter().enumerate().find(|(at, one)| !one.is_sound(*at, instructions.len())) {
            Some((at, _)) => Err(FilterBytesError::Instruction(at)),
            None => Ok(Filter { instructions, flags: FilterFlags(flags) }),
        }
    }
}

const HEADER: usize = MAGIC.len() + size_of::<u32>();

impl Instruction {
    /// Whether it is one the compiler emits and leads to another of the `len` instructions.
    fn is_sound(&self, at: usize, len: usize) -> bool {
        let reaches = |distance: u32| (distance as usize) < len - at - 1;
        match self.code {
            op::RETURN => true,
            op::LOAD => self.k.is_multiple_of(4) && self.k < 64 && reaches(0),
            op::AND => reaches(0),
            op::JUMP => reaches(self.k),
            op::JEQ | op::JGT | op::JGE => reaches(self.jt.into()) && reaches(self.jf.into()),
            _ => false,
        }
    }
}

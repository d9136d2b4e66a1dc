//! Seccomp profiles compiled to BPF.
//!
//! What it does: reads the profile files engines share ([`Profile::parse`], the `seccomp.json` format and
//! the plain OCI form), holds the default profile as a static table ([`default_profile`]), settles a
//! profile's conditions for one container ([`Profile::resolve`]), and compiles the `linux.seccomp` section
//! of a `config.json` into a classic BPF program that the kernel loads quickly ([`compile`]).
//!
//! What it does not: load the filter (one system call, in `loment-sys`), talk to the agent behind
//! `listenerPath`, read files, or cache anything.
//!
//! ```
//! use loment_seccomp::{Arch, Caps, KernelVersion, compile, default_profile};
//!
//! let caps = Caps::from_names(["CAP_CHOWN", "CAP_KILL"])?;
//! let section = default_profile().resolve(caps, Arch::X86_64, KernelVersion::new(6, 1));
//! let filter = compile(&section, Arch::X86_64)?;
//! assert!(filter.instructions.len() < 1000);
//! let cached = filter.to_bytes();
//! assert_eq!(loment_seccomp::Filter::from_bytes(&cached)?, filter);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arch;
mod bpf;
mod caps;
mod compile;
mod profile;
mod rule;
mod syscall;
mod syscall_table;

#[cfg(test)]
mod tests;

pub use arch::Arch;
pub use bpf::{Filter, FilterBytesError, FilterFlags, Instruction, MAX_INSTRUCTIONS};
pub use caps::{Caps, UnknownCapability};
pub use compile::{CompileError, compile, filter_flags, unknown_names};
pub use profile::{KernelVersion, Profile, ProfileError, default_profile};
pub use syscall::Syscall;

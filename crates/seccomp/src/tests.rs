//! Behaviour of the whole crate. `model` says what a profile means, `machine` runs programs as the kernel
//! does; the tests hold the compiler against both and against libseccomp.

mod default;
mod machine;
mod measure;
mod model;
mod oracle;
mod profile;
mod property;
mod table;

use oci_spec::runtime::LinuxSeccomp;

use crate::{Arch, Filter, compile};
use machine::Call;

/// The verdict of a compiled profile.
fn verdict(filter: &Filter, arch: Arch, number: u32, args: [u64; 6]) -> u32 {
    machine::run(&filter.instructions, &Call { arch: arch.audit(), number, args }).0
}

fn section(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).expect("a seccomp section")
}

fn number(name: &str, arch: Arch) -> u32 {
    crate::Syscall::from_name(name).and_then(|call| call.number(arch)).expect("a system call")
}

const ALLOW: u32 = 0x7fff_0000;
const KILL_THREAD: u32 = 0;
const ENOSYS: u32 = 0x0005_0000 | 38;
const EPERM: u32 = 0x0005_0000 | 1;

/// The calls worth trying on an architecture: every number with a name, its neighbours, and the edges.
fn numbers(arch: Arch) -> Vec<u32> {
    let known = crate::Syscall::all().filter_map(|call| call.number(arch));
    let edges = [0, 600, 0x3fff_ffff, 0x4000_0000, 0x4000_0258, 0x8000_0000, u32::MAX, 0xf_0000, 0xf_0010];
    let mut numbers: Vec<u32> =
        known.flat_map(|number| [number.saturating_sub(1), number, number + 1]).chain(edges).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// The filter of a section, and that it survives its cache form.
fn compiled(section: &LinuxSeccomp, host: Arch) -> Filter {
    let filter = compile(section, host).expect("compiles");
    assert_eq!(Filter::from_bytes(&filter.to_bytes()), Ok(filter.clone()));
    filter
}

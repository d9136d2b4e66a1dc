//! Figures, on demand: `cargo test --release -p loment-seccomp measure -- --ignored --nocapture`.

use std::hint::black_box;
use std::time::Instant;

use super::machine::{Call, run};
use crate::{Arch, Caps, KernelVersion, Syscall, compile, default_profile};

#[test]
#[ignore = "prints figures, asserts nothing"]
fn measure() {
    let caps = Caps::from_names(["CAP_CHOWN", "CAP_KILL", "CAP_SYS_CHROOT"]).expect("known");
    let kernel = KernelVersion::new(6, 18);
    let section = default_profile().resolve(caps, Arch::X86_64, kernel);
    let filter = compile(&section, Arch::X86_64).expect("compiles");
    eprintln!("instructions, x86_64 + x86 + x32: {}", filter.instructions.len());
    let mut alone = section.clone();
    alone.set_architectures(None);
    let alone = compile(&alone, Arch::X86_64).expect("compiles");
    eprintln!("instructions, x86_64 alone: {}", alone.instructions.len());
    for arch in [Arch::X86_64, Arch::X86, Arch::X32] {
        let steps = |name: &str| {
            let number = Syscall::from_name(name).and_then(|call| call.number(arch)).expect("exists");
            run(&filter.instructions, &Call { arch: arch.audit(), number, args: [0; 6] }).1
        };
        let common =
            ["read", "write", "openat", "close", "mmap", "futex", "execve", "clone", "ioctl", "epoll_wait"];
        let all: Vec<_> = Syscall::all()
            .filter(|call| call.number(arch).is_some())
            .map(|call| steps(call.name()))
            .collect();
        let mean = |steps: &[usize]| steps.iter().sum::<usize>() as f64 / steps.len() as f64;
        eprintln!(
            "{arch:?}: mean steps of common calls {:.1}, of all {:.1}, most {}",
            mean(&common.map(steps)),
            mean(&all),
            all.iter().max().expect("some")
        );
    }
    let mut times = [("resolve", vec![]), ("compile", vec![]), ("both in one", vec![])];
    for _ in 0..2000 {
        let start = Instant::now();
        let section = black_box(default_profile().resolve(black_box(caps), Arch::X86_64, kernel));
        times[0].1.push(start.elapsed());
        let start = Instant::now();
        black_box(compile(&section, Arch::X86_64)).expect("compiles");
        times[1].1.push(start.elapsed());
        let start = Instant::now();
        black_box(default_profile().compile(black_box(caps), Arch::X86_64, kernel)).expect("compiles");
        times[2].1.push(start.elapsed());
    }
    for (what, mut times) in times {
        let first = times[0];
        times.sort();
        eprintln!("{what}: first {first:?}, min {:?}, median {:?}", times[0], times[times.len() / 2]);
    }
}

//! Classic BPF as the kernel checks and runs it for seccomp (`net/core/filter.c`, `kernel/seccomp.c`).

use crate::{Instruction, MAX_INSTRUCTIONS};

pub(super) struct Call {
    pub(super) arch: u32,
    pub(super) number: u32,
    pub(super) args: [u64; 6],
}

/// The returned value, the instructions it took, and whether an argument was read.
pub(super) fn run(program: &[Instruction], call: &Call) -> (u32, usize, bool) {
    assert!(
        (1..=MAX_INSTRUCTIONS).contains(&program.len()),
        "the kernel refuses {} instructions",
        program.len()
    );
    let (mut at, mut a, mut steps, mut reads_args) = (0, 0u32, 0, false);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        steps += 1;
        at += 1;
        let mut branch = |taken: bool| at += usize::from(if taken { jt } else { jf });
        match code {
            0x20 => {
                assert!(k % 4 == 0 && k < 64, "load of {k}");
                reads_args |= k >= 16;
                a = word(call, k);
            }
            0x54 => a &= k,
            0x05 => at += k as usize,
            0x15 => branch(a == k),
            0x25 => branch(a > k),
            0x35 => branch(a >= k),
            0x06 => return (k, steps, reads_args),
            other => panic!("opcode {other:#x}"),
        }
    }
}

fn word(call: &Call, offset: u32) -> u32 {
    match offset {
        0 => call.number,
        4 => call.arch,
        8 | 12 => 0, // the instruction pointer, not used
        _ => {
            let arg = call.args[(offset as usize - 16) / 8];
            if offset.is_multiple_of(8) { arg as u32 } else { (arg >> 32) as u32 }
        }
    }
}

/// Whether the program is well formed on every path: what the kernel's checker asks for.
pub(super) fn check(program: &[Instruction]) {
    assert!((1..=MAX_INSTRUCTIONS).contains(&program.len()));
    for (at, one) in program.iter().enumerate() {
        let left = program.len() - at - 1;
        match one.code {
            0x05 => assert!((one.k as usize) < left),
            0x15 | 0x25 | 0x35 => assert!(usize::from(one.jt.max(one.jf)) < left),
            0x20 | 0x54 => assert!(left > 0),
            0x06 => {}
            other => panic!("opcode {other:#x}"),
        }
    }
    assert_eq!(program.last().map(|one| one.code), Some(0x06), "the kernel wants a return at the end");
}

//! Ranges of numbers, the binary search over them, and the argument checks at its leaves.

use super::asm::{Assembler, Label};
use crate::bpf::{Instruction, op};
use crate::rule::{Action, Cond, Op};

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Return(Action),
    /// Its arguments decide: index of a [`Chain`].
    Chain(u16),
}

/// Rules with conditions on one call; the first that holds decides.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chain {
    /// Whether all 64 bits are compared.
    pub(super) wide: bool,
    pub(super) links: Vec<Link>,
}

/// Conditions that must all hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) conds: Vec<Cond>,
    pub(super) action: Action,
}

/// Maximal ranges of numbers with one verdict, each by its start, up to the next one's.
#[derive(Debug)]
pub(super) struct Runs(Vec<(u32, Verdict)>);

impl Runs {
    pub(super) fn with_capacity(runs: usize) -> Runs {
        Runs(Vec::with_capacity(runs))
    }

    /// Adds the range that starts at a number above all others.
    pub(super) fn push(&mut self, start: u32, verdict: Verdict) {
        if self.0.last().is_none_or(|(_, last)| *last != verdict) {
            self.0.push((start, verdict));
        }
    }
}

/// Offsets in `struct seccomp_data` (`linux/seccomp.h`), on a little-endian machine.
mod data {
    pub(super) const NUMBER: u32 = 0;
    pub(super) const ARCH: u32 = 4;

    pub(super) const fn low(arg: u8) -> u32 {
        16 + 8 * arg as u32
    }

    pub(super) const fn high(arg: u8) -> u32 {
        low(arg) + 4
    }
}

/// The program: one segment per `AUDIT_ARCH_*` value, tried in their order.
pub(super) fn emit(default: Action, chains: &[Chain], segments: &[(u32, Runs)]) -> Vec<Instruction> {
    let ranges: usize = segments.iter().map(|(_, runs)| runs.0.len()).sum();
    let mut emitter = Emitter {
        asm: Assembler::with_capacity(ranges * 2 + chains.len() * 16 + 16),
        default,
        chains,
        emitted: vec![None; chains.len()],
    };
    let mut entries = Vec::with_capacity(segments.len());
    for (audit, runs) in segments.iter().rev() {
        let tree = emitter.tree(&runs.0);
        entries.push((*audit, emitter.asm.load(data::NUMBER, tree)));
    }
    let bad_arch = emitter.asm.ret(Action::KILL_THREAD);
    let dispatch = entries
        .iter()
        .fold(bad_arch, |other, (audit, entry)| emitter.asm.branch(op::JEQ, *audit, *entry, other));
    let start = emitter.asm.load(data::ARCH, dispatch);
    emitter.asm.finish(start)
}

struct Emitter<'a> {
    asm: Assembler,
    default: Action,
    chains: &'a [Chain],
    /// Where each chain begins, once written.
    emitted: Vec<Option<Label>>,
}

impl Emitter<'_> {
    /// A search for the accumulator's number.
    fn tree(&mut self, runs: &[(u32, Verdict)]) -> Label {
        match *runs {
            [(_, verdict)] => self.leaf(verdict),
            // One number inside a range: a test for equality instead of two for order.
            [(_, around), (number, inside), (after, same)] if around == same && after == number + 1 => {
                let (holds, fails) = (self.leaf(inside), self.leaf(around));
                self.asm.branch(op::JEQ, number, holds, fails)
            }
            _ => {
                let (below, from) = runs.split_at(middle(runs));
                let holds = self.tree(from);
                let fails = self.tree(below);
                self.asm.branch(op::JGE, from[0].0, holds, fails)
            }
        }
    }

    fn leaf(&mut self, verdict: Verdict) -> Label {
        match verdict {
            Verdict::Return(action) => self.asm.ret(action),
            Verdict::Chain(index) => {
                let index = usize::from(index);
                match self.emitted[index] {
                    Some(label) => label,
                    None => {
                        let label = self.chain(&self.chains[index]);
                        self.emitted[index] = Some(label);
                        label
                    }
                }
            }
        }
    }

    fn chain(&mut self, chain: &Chain) -> Label {
        let mut next = self.asm.ret(self.default);
        for link in chain.links.iter().rev() {
            let mut holds = self.asm.ret(link.action);
            for cond in link.conds.iter().rev() {
                holds = self.cond(cond, chain.wide, holds, next);
            }
            next = holds;
        }
        next
    }

    /// A test of one argument: its high half first, which settles most of them.
    fn cond(&mut self, cond: &Cond, wide: bool, holds: Label, fails: Label) -> Label {
        let (code, holds, fails) = match cond.op {
            Op::Eq | Op::MaskedEq => (op::JEQ, holds, fails),
            Op::Ne => (op::JEQ, fails, holds),
            Op::Gt => (op::JGT, holds, fails),
            Op::Le => (op::JGT, fails, holds),
            Op::Ge => (op::JGE, holds, fails),
            Op::Lt => (op::JGE, fails, holds),
        };
        let (mask, value) = match cond.op {
            Op::MaskedEq => (cond.value, cond.value_two & cond.value),
            _ => (u64::MAX, cond.value),
        };
        let mut label = self.half(code, data::low(cond.index), mask as u32, value as u32, holds, fails);
        let (mask, value) = ((mask >> 32) as u32, (value >> 32) as u32);
        if !wide || mask == 0 {
            return label;
        }
        if code == op::JEQ {
            return self.half(op::JEQ, data::high(cond.index), mask, value, label, fails);
        }
        // Order: a larger half holds, a smaller one fails, an equal one leaves it to the low half.
        label = self.asm.branch(op::JEQ, value, label, fails);
        self.half(op::JGT, data::high(cond.index), mask, value, holds, label)
    }

    fn half(&mut self, code: u16, offset: u32, mask: u32, value: u32, holds: Label, fails: Label) -> Label {
        let mut label = self.asm.branch(code, value, holds, fails);
        if label == holds || label == fails {
            return label;
        }
        if mask != u32::MAX {
            label = self.asm.and(mask, label);
        }
        self.asm.load(offset, label)
    }
}

/// Where to split a range of numbers. x32's half goes first: few calls come from there.
fn middle(runs: &[(u32, Verdict)]) -> usize {
    let half = runs.partition_point(|(start, _)| *start < crate::arch::X32_BIT);
    if half > 0 && half < runs.len() { half } else { runs.len() / 2 }
}

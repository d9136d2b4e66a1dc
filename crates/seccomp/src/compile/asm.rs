//! An assembler that works from the last instruction to the first.
//!
//! Jumps of classic BPF only go forward. Backwards, every target exists before the jump to it, so its
//! distance is known when the jump is written, and whether it fits the 8 bits of a conditional jump: where
//! it does not, a copy of the target (for a return) or a long jump to it is written in between.

use crate::bpf::{Instruction, op};
use crate::rule::Action;

/// A written instruction, counted from the end of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(u32);

/// The farthest a conditional jump reaches.
const REACH: u32 = u8::MAX as u32;

#[derive(Default)]
pub(super) struct Assembler {
    /// Last instruction first.
    written: Vec<Instruction>,
    /// The nearest return of each action.
    returns: Vec<(Action, Label)>,
}

impl Assembler {
    pub(super) fn with_capacity(instructions: usize) -> Assembler {
        Assembler { written: Vec::with_capacity(instructions), returns: Vec::with_capacity(8) }
    }

    /// A return of an action, near enough for the next branch.
    pub(super) fn ret(&mut self, action: Action) -> Label {
        let known = self.returns.iter().position(|(known, _)| *known == action);
        match known {
            Some(at) if self.is_near(self.returns[at].1) => self.returns[at].1,
            _ => {
                let label = self.push(op::RETURN, 0, 0, action.0);
                match known {
                    Some(at) => self.returns[at].1 = label,
                    None => self.returns.push((action, label)),
                }
                label
            }
        }
    }

    /// A comparison of the accumulator with `k`.
    pub(super) fn branch(&mut self, code: u16, k: u32, holds: Label, fails: Label) -> Label {
        if holds == fails {
            return holds;
        }
        let (holds, fails) = (self.near(holds), self.near(fails));
        let here = self.written.len() as u32;
        self.push(code, (here - holds.0 - 1) as u8, (here - fails.0 - 1) as u8, k)
    }

    /// A load of a word of `seccomp_data`, then `next`.
    pub(super) fn load(&mut self, offset: u32, next: Label) -> Label {
        self.follow(next);
        self.push(op::LOAD, 0, 0, offset)
    }

    /// An `and` of the accumulator, then `next`.
    pub(super) fn and(&mut self, mask: u32, next: Label) -> Label {
        self.follow(next);
        self.push(op::AND, 0, 0, mask)
    }

    /// The program, first instruction first.
    pub(super) fn finish(mut self, start: Label) -> Vec<Instruction> {
        self.follow(start);
        self.written.reverse();
        self.written
    }

    /// Whether a branch can reach a label even if one more instruction comes between.
    fn is_near(&self, label: Label) -> bool {
        self.written.len() as u32 - label.0 <= REACH
    }

    /// The label, or a stand-in for it that a branch reaches.
    fn near(&mut self, label: Label) -> Label {
        if self.is_near(label) {
            return label;
        }
        let target = self.written[label.0 as usize];
        if target.code == op::RETURN { self.ret(Action(target.k)) } else { self.jump(label) }
    }

    /// Makes the next instruction written fall through to a label.
    fn follow(&mut self, label: Label) {
        if label.0 as usize + 1 != self.written.len() {
            self.jump(label);
        }
    }

    fn jump(&mut self, label: Label) -> Label {
        let distance = self.written.len() as u32 - label.0 - 1;
        self.push(op::JUMP, 0, 0, distance)
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        self.written.push(Instruction { code, jt, jf, k });
        Label(self.written.len() as u32 - 1)
    }
}

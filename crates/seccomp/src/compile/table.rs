//! What the rules say about each number of each architecture.

use std::collections::BTreeSet;
use std::ops::Range;

use oci_spec::runtime::LinuxSeccompFilterFlag;

use super::multiplex;
use super::tree::{Chain, Link, Runs, Verdict, emit};
use super::{CompileError, filter_flags, repeats_argument};
use crate::arch::Arch;
use crate::bpf::{Filter, MAX_INSTRUCTIONS};
use crate::rule::{Action, Cond};
use crate::syscall::Syscall;

/// Numbers below this have a slot of their own; the largest in the table is x32's 547.
const NUMBERS: usize = 600;
/// The private calls of 32-bit Arm come after them.
const ARM_PRIVATE: u32 = 0xf_0000;
const ARM_PRIVATE_SLOTS: usize = 16;
const SLOTS: usize = NUMBERS + ARM_PRIVATE_SLOTS;
const ENOSYS: u32 = 38;
const WRITE: Syscall = Syscall::from_name("write").expect("in the table");

/// The rules, sorted into slots.
pub(crate) struct Table {
    default: Action,
    /// Whether a rule notifies.
    notifies: bool,
    /// Whether one for `write` does.
    notifies_on_write: bool,
    arms: Vec<Arm>,
    /// Distinct actions of rules without conditions; slots refer to them.
    actions: Vec<Action>,
    /// Conditions of all rules.
    conds: Vec<Cond>,
    /// Rules with conditions, in the order of the profile.
    tests: Vec<Test>,
}

/// One architecture of the filter.
struct Arm {
    arch: Arch,
    /// The largest number that a rule names, skipped rules included; private Arm calls do not count.
    newest: Option<u32>,
    slots: [u16; SLOTS],
}

/// A slot without rules.
const NOTHING: u16 = 0;
/// A slot with rules that have conditions. Smaller values are one more than the index of an action;
/// [`Table::chains`] replaces it by larger values, this plus the index of a chain.
const TESTED: u16 = 0x8000;

/// A rule with conditions.
struct Test {
    arm: u8,
    slot: u16,
    action: Action,
    conds: Range<u32>,
}

impl Table {
    /// An empty table for the host's own architecture and those it runs that are listed.
    pub(crate) fn new(default: Action, host: Arch, listed: impl Fn(Arch) -> bool) -> Table {
        let arms = host.runnable().iter().filter(|arch| **arch == host || listed(**arch));
        let arms = arms.map(|arch| Arm { arch: *arch, newest: None, slots: [NOTHING; SLOTS] }).collect();
        let (actions, conds, tests) = (Vec::with_capacity(8), Vec::with_capacity(32), Vec::with_capacity(32));
        Table { default, notifies: false, notifies_on_write: false, arms, actions, conds, tests }
    }

    /// Takes note that the profile uses an action, be it for calls that do not exist.
    pub(crate) fn note_action(&mut self, action: Action) {
        self.notifies |= action == Action::NOTIFY;
    }

    /// Adds a rule; `conds` must all hold, unless they name an argument twice.
    pub(crate) fn add(&mut self, call: Syscall, action: Action, conds: &[Cond]) {
        self.notifies_on_write |= action == Action::NOTIFY && call == WRITE;
        for arm in 0..self.arms.len() {
            let arch = self.arms[arm].arch;
            if arch == Arch::X86
                && let Some(through) = multiplex::through(call)
                && (conds.is_empty() || !action.may_permit())
            {
                self.add_to(arm, through.call, action, &[through.cond(action)]);
            }
            if conds.len() > 1 && repeats_argument(conds) {
                conds.iter().for_each(|cond| self.add_to(arm, call, action, &[*cond]));
            } else {
                self.add_to(arm, call, action, conds);
            }
        }
    }

    fn add_to(&mut self, index: usize, call: Syscall, action: Action, conds: &[Cond]) {
        let arm = &mut self.arms[index];
        let Some(number) = call.number(arm.arch) else { return };
        let number = number & !arm.arch.number_bit();
        if number < ARM_PRIVATE {
            arm.newest = arm.newest.max(Some(number));
        }
        let slot = slot(number);
        if action == self.default || !matches!(arm.slots[slot], NOTHING | TESTED) {
            return;
        }
        if conds.is_empty() {
            arm.slots[slot] = action_number(&mut self.actions, action);
            return;
        }
        arm.slots[slot] = TESTED;
        let start = self.conds.len() as u32;
        let narrow = !arm.arch.has_64bit_args();
        self.conds.extend(conds.iter().map(|cond| if narrow { cond.narrowed() } else { *cond }));
        let conds = start..self.conds.len() as u32;
        self.tests.push(Test { arm: index as u8, slot: slot as u16, action, conds });
    }

    /// The program.
    pub(crate) fn finish(mut self, flags: Option<&[LinuxSeccompFilterFlag]>) -> Result<Filter, CompileError> {
        if self.notifies_on_write {
            return Err(CompileError::NotifyOnWrite);
        }
        let flags = filter_flags(flags, self.notifies);
        let chains = self.chains();
        let mut segments: Vec<(u32, Runs)> = Vec::with_capacity(self.arms.len());
        for arm in &self.arms {
            let audit = arm.arch.audit();
            if segments.iter().any(|(known, _)| *known == audit) {
                continue;
            }
            let mut runs = Runs::with_capacity(128);
            // x86_64 and x32 are one architecture to the kernel: two halves of one range of numbers.
            for arch in Arch::ALL.into_iter().filter(|arch| arch.audit() == audit) {
                self.runs(arch, &mut runs);
            }
            segments.push((audit, runs));
        }
        let instructions = emit(self.default, &chains, &segments);
        match instructions.len() {
            ..=MAX_INSTRUCTIONS => Ok(Filter { instructions, flags }),
            len => Err(CompileError::TooLong(len)),
        }
    }

    /// Groups the rules with conditions by slot, and makes each slot point at its chain.
    fn chains(&mut self) -> Vec<Chain> {
        let mut chains: Vec<Chain> = Vec::new();
        // A rule without conditions overrides the others, also earlier ones.
        self.tests.retain(|test| self.arms[usize::from(test.arm)].slots[usize::from(test.slot)] == TESTED);
        self.tests.sort_by_key(|test| (test.arm, test.slot));
        for tests in self.tests.chunk_by(|one, next| (one.arm, one.slot) == (next.arm, next.slot)) {
            let mut seen = BTreeSet::new();
            let mut links = Vec::with_capacity(tests.len());
            for test in tests {
                let conds = &self.conds[test.conds.start as usize..test.conds.end as usize];
                if seen.insert(conds) {
                    links.push(Link { conds: conds.to_vec(), action: test.action });
                }
            }
            let arm = &mut self.arms[usize::from(tests[0].arm)];
            let chain = Chain { wide: arm.arch.has_64bit_args(), links };
            let index = chains.iter().position(|known| *known == chain).unwrap_or_else(|| {
                chains.push(chain);
                chains.len() - 1
            });
            arm.slots[usize::from(tests[0].slot)] = TESTED + index as u16;
        }
        chains
    }

    /// Appends the ranges of one architecture: the whole half of the numbers it owns.
    fn runs(&self, arch: Arch, runs: &mut Runs) {
        let bit = arch.number_bit();
        let Some(arm) = self.arms.iter().find(|arm| arm.arch == arch) else {
            // Only half of what the kernel calls one architecture is in the profile. -1 is nobody's number: a
            // tracer sets it to skip a call. libseccomp leaves it to the default action.
            runs.push(bit, Verdict::Return(Action::KILL_THREAD));
            if arch == Arch::X32 {
                runs.push(u32::MAX, Verdict::Return(self.default));
            }
            return;
        };
        let unknown = match arm.newest {
            Some(_) if !self.default.suits_unknown_calls() => Action::errno(ENOSYS),
            _ => self.default,
        };
        let named = arm.newest.map_or(0, |newest| newest + 1);
        for number in 0..named {
            runs.push(number | bit, self.verdict(arm.slots[slot(number)], self.default));
        }
        runs.push(named | bit, Verdict::Return(unknown));
        if arch == Arch::Arm {
            for number in ARM_PRIVATE..ARM_PRIVATE + ARM_PRIVATE_SLOTS as u32 {
                runs.push(number, self.verdict(arm.slots[slot(number)], unknown));
            }
            runs.push(ARM_PRIVATE + ARM_PRIVATE_SLOTS as u32, Verdict::Return(unknown));
        }
    }

    fn verdict(&self, slot: u16, nothing: Action) -> Verdict {
        match slot {
            NOTHING => Verdict::Return(nothing),
            TESTED.. => Verdict::Chain(slot - TESTED),
            _ => Verdict::Return(self.actions[usize::from(slot) - 1]),
        }
    }
}

/// The slot value of an action; there are fewer distinct actions than calls in the table.
fn action_number(actions: &mut Vec<Action>, action: Action) -> u16 {
    let index = actions.iter().position(|known| *known == action).unwrap_or_else(|| {
        actions.push(action);
        actions.len() - 1
    });
    index as u16 + 1
}

/// Where a number, without x32's bit, has its slot; a test holds that every number of the table has one.
const fn slot(number: u32) -> usize {
    match number {
        ARM_PRIVATE.. => NUMBERS + (number - ARM_PRIVATE) as usize,
        _ => number as usize,
    }
}

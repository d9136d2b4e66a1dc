//! Device allow-lists: files on v1, a program on v2.

use loment_sys::bpf::Instruction;
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use crate::Error;
use crate::dir::Dir;

/// linux/bpf.h: BPF_DEVCG_ACC_*, BPF_DEVCG_DEV_*.
const ACC_MKNOD: i32 = 1;
const ACC_READ: i32 = 2;
const ACC_WRITE: i32 = 4;
const DEV_BLOCK: i32 = 1;
const DEV_CHAR: i32 = 2;

/// A rule, checked.
struct Rule {
    allow: bool,
    /// `None`: both kinds.
    kind: Option<char>,
    /// `None`: every number.
    major: Option<i64>,
    minor: Option<i64>,
    access: String,
}

impl Rule {
    fn parse(rule: &LinuxDeviceCgroup) -> Result<Self, Error> {
        let kind = match rule.typ() {
            None | Some(LinuxDeviceType::A) => None,
            Some(LinuxDeviceType::B) => Some('b'),
            Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some('c'),
            Some(other) => {
                return Err(Error::Value { name: "device type", value: other.as_str().to_owned() });
            }
        };
        let access = rule.access().clone().unwrap_or_else(|| "rwm".to_owned());
        if access.chars().any(|c| !"rwm".contains(c)) {
            return Err(Error::Value { name: "device access (r, w, m)", value: access });
        }
        let number = |n: Option<i64>| n.filter(|&n| n >= 0);
        Ok(Self {
            allow: rule.allow(),
            kind,
            major: number(rule.major()),
            minor: number(rule.minor()),
            access,
        })
    }

    /// As the files of v1 want it.
    fn v1(&self) -> String {
        let star = |n: Option<i64>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
        match (self.kind, self.major, self.minor) {
            (None, None, None) => "a".to_owned(),
            (kind, major, minor) => {
                format!("{} {}:{} {}", kind.unwrap_or('a'), star(major), star(minor), self.access)
            }
        }
    }
}

/// Writes the rules to `devices.allow` and `devices.deny`, in order.
pub(crate) fn apply_v1(group: &Dir, rules: &[LinuxDeviceCgroup]) -> Result<(), Error> {
    let rules = rules.iter().map(Rule::parse).collect::<Result<Vec<_>, _>>()?;
    for run in rules.chunk_by(|a, b| a.allow == b.allow) {
        let file = if run[0].allow { "devices.allow" } else { "devices.deny" };
        group.write_each(file, run.iter().map(Rule::v1))?;
    }
    Ok(())
}

fn insn(code: u8, dst: u8, src: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: dst | src << 4, offset, immediate }
}

/// The same rules as a device program. Of every access that is asked for (read, write, make a node), the last rule that
/// speaks of it decides; what no rule speaks of is denied.
///
/// The context is `struct bpf_cgroup_dev_ctx { u32 access_type (kind | access << 16), u32 major, u32 minor }`.
pub(crate) fn program(rules: &[LinuxDeviceCgroup]) -> Result<Vec<Instruction>, Error> {
    const LDX_W: u8 = 0x61;
    const MOV_X: u8 = 0xbf;
    const MOV_K: u8 = 0xb7;
    const AND_K: u8 = 0x54; // 32 bits
    const RSH_K: u8 = 0x74; // 32 bits
    const JEQ_K: u8 = 0x15;
    const JNE_K: u8 = 0x55;
    const EXIT: u8 = 0x95;
    const EVERY: i32 = ACC_MKNOD | ACC_READ | ACC_WRITE;
    let mut p = vec![
        insn(LDX_W, 2, 1, 0, 0),
        insn(MOV_X, 3, 2, 0, 0),
        insn(AND_K, 2, 0, 0, 0xffff), // r2 = kind
        insn(RSH_K, 3, 0, 0, 16),     // r3 = accesses nothing has been said of yet
        insn(LDX_W, 4, 1, 4, 0),      // r4 = major
        insn(LDX_W, 5, 1, 8, 0),      // r5 = minor
    ];
    let decide = |allow: bool| [insn(MOV_K, 0, 0, 0, i32::from(allow)), insn(EXIT, 0, 0, 0, 0)];
    for rule in rules.iter().rev() {
        let rule = Rule::parse(rule)?;
        let mut tests = Vec::new();
        if let Some(kind) = rule.kind {
            tests.push((2, if kind == 'b' { DEV_BLOCK } else { DEV_CHAR }));
        }
        for (register, number) in [(4, rule.major), (5, rule.minor)] {
            if let Some(n) = number {
                let n = i32::try_from(n)
                    .map_err(|_| Error::Value { name: "device number", value: n.to_string() })?;
                tests.push((register, n));
            }
        }
        let access = rule.access.chars().fold(0, |a, c| {
            a | match c {
                'r' => ACC_READ,
                'w' => ACC_WRITE,
                _ => ACC_MKNOD,
            }
        });
        if tests.is_empty() && access == EVERY {
            // The verifier refuses instructions that nothing reaches.
            p.extend(decide(rule.allow));
            return Ok(p);
        }
        let mut verdict = if rule.allow {
            // Allowed is what is left of the question when nothing is left of it.
            vec![insn(AND_K, 3, 0, 0, !access), insn(JNE_K, 3, 0, 2, 0)]
        } else {
            vec![insn(MOV_X, 1, 3, 0, 0), insn(AND_K, 1, 0, 0, access), insn(JEQ_K, 1, 0, 2, 0)]
        };
        verdict.extend(decide(rule.allow));
        let (count, rest) = (tests.len(), verdict.len());
        // A test that fails leads past the rule.
        p.extend(
            tests.iter().enumerate().map(|(i, &(register, value))| {
                insn(JNE_K, register, 0, (count - i - 1 + rest) as i16, value)
            }),
        );
        p.extend(verdict);
    }
    p.extend(decide(false));
    Ok(p)
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::LinuxDeviceCgroup;

    use super::*;

    /// What the kernel would answer; only the instructions above.
    fn run(p: &[Instruction], kind: i32, access: i32, major: i32, minor: i32) -> bool {
        let context = [kind | access << 16, major, minor];
        let (mut r, mut pc) = ([0i32; 6], 0);
        loop {
            let i = p[pc];
            let (dst, src) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            pc += 1;
            match i.code {
                0x61 => r[dst] = context[i.offset as usize / 4],
                0xbf => r[dst] = r[src],
                0xb7 => r[dst] = i.immediate,
                0x54 => r[dst] &= i.immediate,
                0x74 => r[dst] = (r[dst] as u32 >> i.immediate) as i32,
                0x15 if r[dst] == i.immediate => pc += i.offset as usize,
                0x55 if r[dst] != i.immediate => pc += i.offset as usize,
                0x15 | 0x55 => {}
                0x95 => return r[0] != 0,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    fn rules(text: &str) -> Vec<Instruction> {
        let rules: Vec<LinuxDeviceCgroup> = serde_json::from_str(text).unwrap();
        program(&rules).unwrap()
    }

    #[test]
    fn every_access_is_decided_by_the_last_rule_that_speaks_of_it() {
        let p = rules(
            r#"[{"allow":false,"access":"rwm"}, {"allow":true,"type":"c","major":1,"minor":3,"access":"r"},
                {"allow":true,"type":"c","major":1,"minor":3,"access":"wm"},
                {"allow":true,"type":"b","access":"rwm"}, {"allow":false,"type":"b","major":8,"access":"w"}]"#,
        );
        let (read, write) = (ACC_READ, ACC_WRITE);
        assert!(run(&p, DEV_CHAR, read | write, 1, 3), "two rules together");
        assert!(!run(&p, DEV_CHAR, read, 1, 4), "another number");
        assert!(run(&p, DEV_BLOCK, read, 8, 0) && run(&p, DEV_BLOCK, write, 9, 0));
        assert!(!run(&p, DEV_BLOCK, write, 8, 0));
        assert!(!run(&p, DEV_BLOCK, read | write, 8, 0), "part of it is denied");
    }

    #[test]
    fn without_rules_nothing_and_with_an_open_end_everything_is_allowed() {
        assert!(!run(&rules("[]"), DEV_CHAR, ACC_READ, 1, 3));
        let p =
            rules(r#"[{"allow":true,"access":"rwm"}, {"allow":false,"type":"c","major":10,"access":"rwm"}]"#);
        assert!(run(&p, DEV_CHAR, ACC_READ, 1, 3) && !run(&p, DEV_CHAR, ACC_READ, 10, 3));
        assert!(rules(r#"[{"allow":true,"access":"rwm"}]"#).len() == 8);
    }
}

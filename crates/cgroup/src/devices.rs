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

/// The same rules as a device program: the last rule that matches decides, nothing matching denies.
///
/// The context is `struct bpf_cgroup_dev_ctx { u32 access_type (kind | access << 16), u32 major, u32 minor }`.
pub(crate) fn program(rules: &[LinuxDeviceCgroup]) -> Result<Vec<Instruction>, Error> {
    const LDX_W: u8 = 0x61;
    const MOV_X: u8 = 0xbf;
    const MOV_K: u8 = 0xb7;
    const AND_K: u8 = 0x54; // 32 bits
    const RSH_K: u8 = 0x74; // 32 bits
    const JNE_K: u8 = 0x55;
    const JNE_X: u8 = 0x5d;
    const EXIT: u8 = 0x95;
    let mut p = vec![
        insn(LDX_W, 2, 1, 0, 0),
        insn(MOV_X, 3, 2, 0, 0),
        insn(AND_K, 2, 0, 0, 0xffff), // r2 = kind
        insn(RSH_K, 3, 0, 0, 16),     // r3 = access
        insn(LDX_W, 4, 1, 4, 0),      // r4 = major
        insn(LDX_W, 5, 1, 8, 0),      // r5 = minor
    ];
    for rule in rules.iter().rev() {
        let rule = Rule::parse(rule)?;
        let mut tests = Vec::new();
        if let Some(kind) = rule.kind {
            tests.push(insn(JNE_K, 2, 0, 0, if kind == 'b' { DEV_BLOCK } else { DEV_CHAR }));
        }
        let access = rule.access.chars().fold(0, |a, c| {
            a | match c {
                'r' => ACC_READ,
                'w' => ACC_WRITE,
                _ => ACC_MKNOD,
            }
        });
        if access != ACC_MKNOD | ACC_READ | ACC_WRITE {
            // Allow: every bit asked for is in the rule. Deny: the same test, as on v1.
            tests.push(insn(MOV_X, 1, 3, 0, 0));
            tests.push(insn(AND_K, 1, 0, 0, access));
            tests.push(insn(JNE_X, 1, 3, 0, 0));
        }
        for (register, number) in [(4, rule.major), (5, rule.minor)] {
            if let Some(n) = number {
                let n = i32::try_from(n)
                    .map_err(|_| Error::Value { name: "device number", value: n.to_string() })?;
                tests.push(insn(JNE_K, register, 0, 0, n));
            }
        }
        let unconditional = tests.is_empty();
        // Every failed test jumps past this rule's two closing instructions.
        let len = tests.len();
        for (i, mut t) in tests.into_iter().enumerate() {
            if matches!(t.code, JNE_K | JNE_X) {
                t.offset = (len - i - 1 + 2) as i16;
            }
            p.push(t);
        }
        p.push(insn(MOV_K, 0, 0, 0, i32::from(rule.allow)));
        p.push(insn(EXIT, 0, 0, 0, 0));
        if unconditional {
            // The verifier refuses instructions that nothing reaches.
            return Ok(p);
        }
    }
    p.push(insn(MOV_K, 0, 0, 0, 0));
    p.push(insn(EXIT, 0, 0, 0, 0));
    Ok(p)
}

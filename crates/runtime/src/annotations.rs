//! crun's annotations (crun(1), `run.oci.*`): what the specification has no field for. A value that cannot be is refused by
//! the annotation's name, before anything is made.
//!
//! Those of other programs, such as `krun.*` and `module.wasm.*`, mean something to a handler only, and there is none.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use loment_cgroup::CgroupPath;
use loment_sys::seccomp::Instruction;

use crate::Error;
use crate::error::invalid;

const GROUPS: &str = "run.oci.keep_original_groups";
const STDOUT: &str = "run.oci.hooks.stdout";
const STDERR: &str = "run.oci.hooks.stderr";
/// Where the agent of a seccomp filter listens.
pub const RECEIVER: &str = "run.oci.seccomp.receiver";
const PLUGINS: &str = "run.oci.seccomp.plugins";
const STRICT: &str = "run.oci.seccomp_fail_unknown_syscall";
const PROGRAM: &str = "run.oci.seccomp_bpf_data";
pub(crate) const SYSTEMD_V1: &str = "run.oci.systemd.force_cgroup_v1";
pub(crate) const DELEGATE: &str = "run.oci.delegate-cgroup";

/// What a configuration's annotations ask for.
#[derive(Debug, Default)]
pub(crate) struct Annotations {
    /// Programs keep the supplementary groups of the container's creator, and have no others.
    pub(crate) keep_groups: bool,
    /// What hooks write to their standard output and error goes to the end of these files.
    pub(crate) hooks_stdout: Option<PathBuf>,
    pub(crate) hooks_stderr: Option<PathBuf>,
    pub(crate) seccomp: SeccompAnnotations,
    /// The group below the container's that its program runs in and may manage.
    pub(crate) delegate: Option<CgroupPath>,
    /// The mount that is to be systemd's own v1 hierarchy.
    pub(crate) systemd_v1: Option<PathBuf>,
}

/// Those about the seccomp filter.
#[derive(Debug, Default)]
pub(crate) struct SeccompAnnotations {
    /// Where the agent listens if the profile does not say it.
    pub(crate) receiver: Option<PathBuf>,
    /// A profile that names calls nobody knows is an error.
    pub(crate) strict: bool,
    /// The filter itself, instead of the profile's.
    pub(crate) program: Option<Vec<Instruction>>,
}

impl Annotations {
    /// Reads those of a specification.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the annotation.
    pub(crate) fn new(annotations: Option<&HashMap<String, String>>) -> Result<Self, Error> {
        let Some(all) = annotations else { return Ok(Self::default()) };
        let value = |key: &str| all.get(key).map(String::as_str);
        let file = |key| value(key).map(|text| absolute(key, text)).transpose();
        // As for crun everything but 0 is a yes.
        let switch = |key| value(key).is_some_and(|text| text != "0");
        if value(PLUGINS).is_some() {
            let reason = format!("shared objects are not loaded here: use {RECEIVER}, or remove it");
            return Err(named(PLUGINS, reason));
        }
        // One checked name: crun 1.28 was led out of its group through this one.
        let group = |text| CgroupPath::new(text).map_err(|e| named(DELEGATE, e.to_string()));
        Ok(Self {
            delegate: value(DELEGATE).filter(|text| !text.is_empty()).map(group).transpose()?,
            systemd_v1: file(SYSTEMD_V1)?,
            keep_groups: switch(GROUPS),
            hooks_stdout: file(STDOUT)?,
            hooks_stderr: file(STDERR)?,
            seccomp: SeccompAnnotations {
                receiver: file(RECEIVER)?,
                strict: switch(STRICT),
                program: value(PROGRAM).map(program).transpose()?,
            },
        })
    }
}

/// An error in the annotation `key`.
pub(crate) fn named(key: &str, reason: impl Into<String>) -> Error {
    invalid(format!("annotation {key}"), reason)
}

fn absolute(key: &str, text: &str) -> Result<PathBuf, Error> {
    if !Path::new(text).is_absolute() || text.contains('\0') {
        return Err(named(key, format!("{text:?} is not an absolute path")));
    }
    Ok(PathBuf::from(text))
}

/// A filter as seccomp(2) takes it, in base64. Whether it is a program the kernel has to say.
fn program(text: &str) -> Result<Vec<Instruction>, Error> {
    use base64::Engine;
    use base64::alphabet::STANDARD;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    const MAX: usize = loment_seccomp::MAX_INSTRUCTIONS;
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(&STANDARD, lenient).decode(text.trim_ascii());
    let bytes =
        bytes.map_err(|e| named(PROGRAM, format!("it is not base64: {}", e.to_string().to_lowercase())))?;
    let (instructions, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        let reason = format!("its {} bytes are no whole number of instructions, which have 8", bytes.len());
        return Err(named(PROGRAM, reason));
    }
    if !(1..=MAX).contains(&instructions.len()) {
        let reason = format!("it has {} instructions, the kernel takes 1 to {MAX}", instructions.len());
        return Err(named(PROGRAM, reason));
    }
    // As the kernel of this machine has them in memory (linux/filter.h).
    let instruction = |&[c0, c1, jt, jf, k0, k1, k2, k3]: &[u8; 8]| Instruction {
        code: u16::from_ne_bytes([c0, c1]),
        jt,
        jf,
        k: u32::from_ne_bytes([k0, k1, k2, k3]),
    };
    Ok(instructions.iter().map(instruction).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Annotations, Error> {
        let all = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Annotations::new(Some(&all))
    }

    #[test]
    fn everything_but_0_is_a_yes() {
        for (value, yes) in [("1", true), ("", true), ("no", true), ("0", false)] {
            assert_eq!(parse(&[(GROUPS, value)]).unwrap().keep_groups, yes, "{value:?}");
        }
        assert!(!parse(&[]).unwrap().keep_groups);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (key, value) in [
            (STDOUT, "relative"),
            (STDERR, ""),
            (RECEIVER, "a/socket"),
            (PLUGINS, "plugin.so"),
            (PROGRAM, "!"),
            (PROGRAM, ""),
            (PROGRAM, "AAAA"),
            (SYSTEMD_V1, "sys/fs/cgroup"),
            (DELEGATE, ".."),
            (DELEGATE, "a/../../b"),
            (DELEGATE, "/"),
        ] {
            let error = parse(&[(key, value)]).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
        let long = "A".repeat((loment_seccomp::MAX_INSTRUCTIONS + 1) * 8 / 3 * 4 + 8);
        parse(&[(PROGRAM, &long)]).unwrap_err();
    }

    #[test]
    fn a_filter_is_read_as_the_kernel_has_it_in_memory() {
        // One instruction: return ALLOW; with its padding and without.
        for text in ["BgAAAAAA/38=", "BgAAAAAA/38", " BgAAAAAA/38=\n"] {
            let program = parse(&[(PROGRAM, text)]).unwrap().seccomp.program.unwrap();
            assert_eq!(program.len(), 1);
            assert_eq!((program[0].code, program[0].k), (6, 0x7fff_0000));
        }
    }

    #[test]
    fn what_means_something_to_a_handler_only_is_let_be() {
        parse(&[("krun.cpus", "4"), ("krun.variant", "sev"), ("module.wasm.image/variant", "compat")])
            .unwrap();
    }
}

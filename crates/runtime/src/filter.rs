//! The seccomp filter of a container: compiled from its profile, or given as it is.

use loment_sys::seccomp::{FLAG_NEW_LISTENER, Instruction};
use oci_spec::runtime::LinuxSeccomp;

use crate::Error;
use crate::annotations::SeccompAnnotations;
use crate::error::invalid;
use crate::listener::Listener;

/// A seccomp program ready to be loaded.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) program: Vec<Instruction>,
    pub(crate) flags: u32,
    /// Who answers its questions, if it asks any.
    pub(crate) listener: Option<Listener>,
}

impl Filter {
    /// That of a profile, unless the annotations have one.
    ///
    /// # Errors
    /// [`Error::Seccomp`], [`Error::Invalid`].
    pub(crate) fn new(
        profile: Option<&LinuxSeccomp>,
        asked: &SeccompAnnotations,
    ) -> Result<Option<Self>, Error> {
        match (&asked.program, profile) {
            (Some(program), _) => Self::given(program, profile, asked).map(Some),
            (None, Some(profile)) => Self::compiled(profile, asked).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Of the profile, as for crun, the flags and the agent count. What a program asks is not known here: with an agent
    /// there is a listener.
    fn given(
        program: &[Instruction],
        profile: Option<&LinuxSeccomp>,
        asked: &SeccompAnnotations,
    ) -> Result<Self, Error> {
        let listener = Listener::named(profile, asked)?;
        let listed = profile.and_then(|p| p.flags().as_deref());
        let flags = loment_seccomp::filter_flags(listed, listener.is_some()).bits();
        Ok(Self { program: program.to_vec(), flags, listener })
    }

    fn compiled(profile: &LinuxSeccomp, asked: &SeccompAnnotations) -> Result<Self, Error> {
        let arch = loment_seccomp::Arch::native();
        let arch = arch.ok_or(Error::Unsupported { what: "a seccomp profile on this architecture" })?;
        let unknown = if asked.strict { loment_seccomp::unknown_names(profile) } else { Vec::new() };
        if !unknown.is_empty() {
            let reason = format!("there are no system calls called {}", unknown.join(", "));
            return Err(invalid("linux.seccomp.syscalls", reason));
        }
        let filter = loment_seccomp::compile(profile, arch)?;
        let asks = filter.flags.bits() & FLAG_NEW_LISTENER != 0;
        let listener = asks.then(|| Listener::new(profile, asked)).transpose()?;
        let program =
            filter.instructions.iter().map(|i| Instruction { code: i.code, jt: i.jt, jf: i.jf, k: i.k });
        Ok(Self { program: program.collect(), flags: filter.flags.bits(), listener })
    }
}

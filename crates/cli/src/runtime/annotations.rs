//! crun's annotations as far as they are the command line's: what they mean to a container is the library's.

use anyhow::bail;
use loment_runtime::{Bundle, RECEIVER};

/// The socket that is sent a descriptor of the container's first process.
const PIDFD_RECEIVER: &str = "run.oci.pidfd_receiver";
/// What runs the container instead of the kernel.
const HANDLER: &str = "run.oci.handler";
/// crun's other place for the socket of a seccomp filter's agent.
const AGENT: &str = "RUN_OCI_SECCOMP_RECEIVER";

fn annotation<'a>(bundle: &'a Bundle, key: &str) -> Option<&'a str> {
    bundle.spec.annotations().as_ref()?.get(key).map(String::as_str)
}

pub(crate) fn pidfd_receiver(bundle: &Bundle) -> Option<&str> {
    annotation(bundle, PIDFD_RECEIVER)
}

pub(crate) fn refuse_handler(bundle: &Bundle) -> anyhow::Result<()> {
    match annotation(bundle, HANDLER) {
        None | Some("") => Ok(()),
        Some(name) => bail!("annotation {HANDLER}: handler {name:?} is not supported: remove the annotation"),
    }
}

/// Has the configuration name the agent that the environment names, where neither names one otherwise.
pub(crate) fn name_agent(bundle: &mut Bundle) -> anyhow::Result<()> {
    match std::env::var(AGENT) {
        Ok(path) if !path.starts_with('/') => bail!("variable {AGENT}: {path:?} is not an absolute path"),
        Ok(path) => {
            let annotations = bundle.spec.annotations_mut().get_or_insert_default();
            annotations.entry(RECEIVER.to_owned()).or_insert(path);
            Ok(())
        }
        Err(std::env::VarError::NotUnicode(path)) => bail!("variable {AGENT}: {path:?} is not UTF-8"),
        Err(std::env::VarError::NotPresent) => Ok(()),
    }
}

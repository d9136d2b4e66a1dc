//! The environment of a container's programs.

use crate::config::Process;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The defaults, the image's, then the user's (those of `process`); later ones replace earlier ones of the same name.
pub(super) fn environment(process: &Process, image: &[String], flavour: &str, hostname: &str) -> Vec<String> {
    let mut env = vec![PATH.to_owned()];
    if !flavour.is_empty() {
        env.push(format!("container={flavour}"));
    }
    if process.terminal {
        env.push("TERM=xterm".to_owned());
    }
    env.push(format!("HOSTNAME={hostname}"));
    for entry in image.iter().chain(&process.env) {
        let name = entry.split('=').next().unwrap_or_default();
        match env.iter_mut().find(|e| e.split('=').next() == Some(name)) {
            Some(old) => old.clone_from(entry),
            None => env.push(entry.clone()),
        }
    }
    env
}

//! The environment of a container's programs.

use super::expand::expand;
use crate::Error;
use crate::config::Process;
use crate::error::invalid;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is done with the variables that a container has before the user's own are set.
#[derive(Clone, Debug, Default)]
pub struct EnvironmentChoices {
    /// `NAME=VALUE` of the host, which the image's replace.
    pub host: Vec<String>,
    /// `NAME=VALUE` where `$NAME`, `${NAME}`, … in the value stand for variables it has by then.
    pub merge: Vec<String>,
    /// Names of those it does not get.
    pub unset: Vec<String>,
    /// It gets none of them.
    pub unset_all: bool,
}

/// The defaults, the host's, the image's, then the user's (those of `process`); later ones replace earlier ones of the same name.
pub(super) fn environment(
    process: &Process,
    choices: &EnvironmentChoices,
    image: &[String],
    flavour: &str,
    hostname: &str,
) -> Result<Vec<String>, Error> {
    let mut env = vec![PATH.to_owned()];
    if !flavour.is_empty() {
        env.push(format!("container={flavour}"));
    }
    if process.terminal {
        env.push("TERM=xterm".to_owned());
    }
    for entry in choices.host.iter().chain(image) {
        set(&mut env, entry);
    }
    for entry in &choices.merge {
        let value = |name: &str| env.iter().find_map(|e| e.split_once('=').filter(|(n, _)| *n == name));
        let merged = expand(entry, &|name| value(name).map(|(_, value)| value.to_owned()));
        set(&mut env, &merged.map_err(|hint| invalid("environment variable", entry, hint))?);
    }
    env.retain(|entry| !choices.unset_all && !choices.unset.iter().any(|unset| unset == name(entry)));
    // Of what it is called its programs are always told.
    if !env.iter().any(|entry| name(entry) == "HOSTNAME") {
        env.push(format!("HOSTNAME={hostname}"));
    }
    for entry in &process.env {
        set(&mut env, entry);
    }
    Ok(env)
}

fn name(entry: &str) -> &str {
    entry.split('=').next().unwrap_or_default()
}

fn set(env: &mut Vec<String>, entry: &str) {
    match env.iter_mut().find(|old| name(old) == name(entry)) {
        Some(old) => entry.clone_into(old),
        None => env.push(entry.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_variables_replace_earlier_ones_and_the_users_are_never_unset() {
        let strings = |all: &[&str]| -> Vec<String> { all.iter().map(|&s| s.to_owned()).collect() };
        let process = Process { env: strings(&["D=4", "E=5"]), ..Process::default() };
        let choices = EnvironmentChoices {
            host: strings(&["A=host", "B=host"]),
            merge: strings(&["C=${B}-$NONE-c"]),
            unset: strings(&["PATH", "A", "D"]),
            unset_all: false,
        };
        let image = strings(&["B=image", "D=image"]);
        let env = environment(&process, &choices, &image, "x", "h").unwrap();
        assert_eq!(env, ["container=x", "B=image", "C=image--c", "HOSTNAME=h", "D=4", "E=5"]);
        let none = EnvironmentChoices { unset_all: true, ..choices };
        assert_eq!(environment(&process, &none, &image, "x", "h").unwrap(), ["HOSTNAME=h", "D=4", "E=5"]);
    }
}

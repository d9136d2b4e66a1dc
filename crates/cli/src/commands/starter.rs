//! What a container gets of whoever runs this program: descriptors, and the way to its service manager.

use std::os::fd::OwnedFd;

use loment_engine::{Engine, Handed};

use super::{preserve, wait};
use crate::attach::own_streams;
use crate::ecosystem::variable;
use crate::error::Error;
use crate::output::complain;
use crate::terminal;

/// More sockets are nobody's intention.
const MOST: u32 = 1024;

/// What is handed on. To be taken before anything is opened, which could have the number of a descriptor that was not.
#[derive(Debug)]
pub(super) struct Starter {
    descriptors: Vec<(i32, OwnedFd)>,
    variables: Vec<String>,
    manager: Option<String>,
}

impl Starter {
    /// With the descriptors of `--preserve-fds` and `--preserve-fd`, or else those of socket activation (sd_listen_fds(3)).
    pub(super) fn take(count: u32, chosen: &[String]) -> Result<Self, Error> {
        let text = |name: &str| variable(name)?.into_string().ok().filter(|text| !text.is_empty());
        let manager = text("NOTIFY_SOCKET");
        let listening = listening(text("LISTEN_FDS").as_deref(), text("LISTEN_PID").as_deref())?;
        if listening > 0 && (count > 0 || !chosen.is_empty()) {
            complain(
                "Warning: LISTEN_FDS is ignored: --preserve-fds and --preserve-fd say which descriptors are handed on",
            );
        } else if listening > 0 {
            let missing = |_| {
                Error::Invalid(format!(
                    "LISTEN_FDS is {listening}, but not all descriptors from 3 on are open"
                ))
            };
            let descriptors = preserve::descriptors(listening, &[]).map_err(missing)?;
            let names = text("LISTEN_FDNAMES").map(|names| format!("LISTEN_FDNAMES={names}"));
            // Its own number, which is not known here, is set where it is another one.
            let variables = [format!("LISTEN_FDS={listening}"), "LISTEN_PID=1".to_owned()];
            let variables = variables.into_iter().chain(names).collect();
            return Ok(Self { descriptors, variables, manager });
        }
        Ok(Self { descriptors: preserve::descriptors(count, chosen)?, variables: Vec::new(), manager })
    }

    pub(super) fn handed(&self) -> Handed<'_> {
        Handed {
            stdio: Some(own_streams()),
            descriptors: &self.descriptors,
            variables: &self.variables,
            manager: self.manager.as_deref(),
            size: terminal::size(),
            ..Handed::default()
        }
    }

    /// Starts a container of which nothing is shown, and waits until it is healthy if its service manager does.
    pub(super) fn start(&self, engine: &Engine, name: &str) -> Result<(), Error> {
        for warning in engine.start(name, self.handed())? {
            complain(&format!("Warning: {warning}"));
        }
        Ok(wait::until_ready(engine, name)?)
    }
}

/// How many sockets this process is to listen on, or hand on.
fn listening(count: Option<&str>, pid: Option<&str>) -> Result<u32, Error> {
    let own = std::process::id().to_string();
    let Some(count) = count.filter(|_| pid.is_none_or(|pid| pid == own)) else { return Ok(0) };
    let count = count.parse().ok().filter(|count| *count <= MOST);
    count.ok_or_else(|| {
        Error::Invalid(format!(
            "LISTEN_FDS is no number up to {MOST}: unset it, or set it to how many there are"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::listening;

    #[test]
    fn sockets_are_for_the_process_that_is_named() {
        let own = std::process::id().to_string();
        assert_eq!(listening(Some("2"), Some(&own)).unwrap(), 2);
        assert_eq!(listening(Some("2"), Some("1")).unwrap(), 0);
        assert_eq!(listening(Some("2"), None).unwrap(), 2);
        assert_eq!(listening(None, Some(&own)).unwrap(), 0);
        for wrong in ["-1", "x", "4000000000"] {
            listening(Some(wrong), Some(&own)).unwrap_err();
        }
    }
}

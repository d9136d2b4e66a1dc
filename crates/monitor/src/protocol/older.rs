//! Requests as an older monitor knew them: no checks of health, no records that change, no descriptors for programs, and no containers
//! that stay although they are removed at their end.

use std::io;
use std::path::PathBuf;

use serde::Deserialize;

use super::Streams;
use super::{Request, Stop};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Exec {
    args: Vec<String>,
    env: Vec<String>,
    workdir: Option<PathBuf>,
    user: Option<String>,
    terminal: bool,
    privileged: bool,
    streams: Streams,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OldStop {
    signal: i32,
    timeout: Option<u32>,
}

/// A request that has changed since; `None` for one that has not.
pub(super) fn decode(letter: u8, payload: &[u8]) -> Option<io::Result<Request>> {
    match letter {
        b'X' => Some(exec(payload)),
        b'S' => Some(stop(payload)),
        b'H' | b'R' => Some(Err(io::Error::new(io::ErrorKind::InvalidData, "it does not know this request"))),
        _ => None,
    }
}

fn exec(payload: &[u8]) -> io::Result<Request> {
    let Exec { args, env, workdir, user, terminal, privileged, streams } = serde_json::from_slice(payload)?;
    let descriptors = Vec::new();
    Ok(Request::Exec(Box::new(super::Exec {
        args,
        env,
        workdir,
        user,
        terminal,
        privileged,
        streams,
        descriptors,
    })))
}

fn stop(payload: &[u8]) -> io::Result<Request> {
    let OldStop { signal, timeout } = serde_json::from_slice(payload)?;
    Ok(Request::Stop(Stop { signal, timeout, keep: false }))
}

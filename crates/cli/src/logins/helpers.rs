//! Programs that keep logins: `docker-credential-NAME`, with the action as their argument and the registry on standard input
//! (docker/docker-credential-helpers).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use loment_image::conf::{Login, parse_helper_answer};
use loment_registry::Credentials;
use loment_sys::wait::{Exit, wait_exit};
use rustix::pipe::{PipeFlags, pipe_with};
use serde_json::json;

use super::LoginError;
use crate::programs::{find, start};

/// Helpers say this, and fail, when they do not know a registry.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// No answer is longer.
const MAX_ANSWER: u64 = 4 << 20;

/// The login a helper has for a registry.
pub(super) fn get(helper: &str, server: &str) -> Result<Option<Login>, LoginError> {
    let Some(text) = call(helper, "get", server)? else { return Ok(None) };
    let login = parse_helper_answer(&program(helper), &text)?;
    Ok(Some(login).filter(|login| !login.is_empty()))
}

pub(super) fn store(helper: &str, server: &str, credentials: &Credentials) -> Result<(), LoginError> {
    let (username, secret) = (&credentials.username, &credentials.password);
    let input = json!({ "ServerURL": server, "Username": username, "Secret": secret }).to_string();
    call(helper, "store", &input).map(drop)
}

/// Whether it had one.
pub(super) fn erase(helper: &str, server: &str) -> Result<bool, LoginError> {
    Ok(call(helper, "erase", server)?.is_some())
}

/// Users by registry.
pub(super) fn list(helper: &str) -> Result<BTreeMap<String, String>, LoginError> {
    let text = call(helper, "list", "")?.unwrap_or_default();
    let failed = |e: serde_json::Error| LoginError::Helper {
        program: program(helper),
        action: "list",
        message: format!("it printed no list: {e}"),
    };
    if text.trim().is_empty() { Ok(BTreeMap::new()) } else { serde_json::from_str(&text).map_err(failed) }
}

fn program(helper: &str) -> String {
    format!("docker-credential-{helper}")
}

/// What a helper prints; `None` when it does not know the registry.
fn call(helper: &str, action: &'static str, input: &str) -> Result<Option<String>, LoginError> {
    let program = program(helper);
    let failed = |message: String| LoginError::Helper { program: program.clone(), action, message };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+');
    if !helper.bytes().all(plain) {
        return Err(failed("its name may have letters, digits, '-', '_', '.' and '+' only".into()));
    }
    let file = find(&program).ok_or_else(|| LoginError::NoHelper { program: program.clone() })?;
    let (exit, answer) =
        run(&file, &program, action, input).map_err(|e| failed(format!("it cannot be run: {e}")))?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    match exit {
        Exit::Code(0) => Ok(Some(text)),
        _ if text.trim() == NOT_FOUND => Ok(None),
        _ => Err(failed(format!("status {}: {}", exit.status(), text.trim()))),
    }
}

/// How it ended, and what it printed.
fn run(file: &Path, program: &str, action: &str, input: &str) -> io::Result<(Exit, Vec<u8>)> {
    let (theirs, to) = pipe_with(PipeFlags::CLOEXEC)?;
    let (child, from) = start(file, &[program, action], theirs.as_fd(), io::stderr().as_fd())?;
    drop(theirs);
    // One that does not read its input has its reasons, and its status says them.
    let _ = File::from(to).write_all(input.as_bytes());
    let mut answer = Vec::new();
    let read = from.take(MAX_ANSWER).read_to_end(&mut answer);
    let exit = wait_exit(&child)?;
    read.map(|_| (exit, answer))
}

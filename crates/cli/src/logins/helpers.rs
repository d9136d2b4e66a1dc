//! Programs that keep logins: `docker-credential-NAME`, with the action as their argument and the registry on standard input
//! (docker/docker-credential-helpers).

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::process::{Command, Stdio};

use loment_image::conf::{Login, parse_helper_answer};
use loment_registry::Credentials;
use serde_json::json;

use super::LoginError;

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
    let mut child =
        Command::new(&program).arg(action).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(
            |source| match source.kind() {
                ErrorKind::NotFound => LoginError::NoHelper { program: program.clone() },
                _ => failed(format!("it cannot be run: {source}")),
            },
        )?;
    // One that does not read its input has its reasons, and its status says them.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    let mut answer = Vec::new();
    let read = child.stdout.take().map_or(Ok(0), |stdout| stdout.take(MAX_ANSWER).read_to_end(&mut answer));
    let status = child.wait().map_err(|e| failed(format!("it cannot be waited for: {e}")))?;
    read.map_err(|e| failed(format!("its answer cannot be read: {e}")))?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    match status.success() {
        true => Ok(Some(text)),
        false if text.trim() == NOT_FOUND => Ok(None),
        false => Err(failed(format!("{status}: {}", text.trim()))),
    }
}

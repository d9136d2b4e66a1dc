//! The command line: parses, calls the engine or the runtime, prints.
//!
//! The program's name and first argument choose what it is, before any parser is built; each command builds only its own.
//! What is not here: container logic. This crate and the binary are the only ones that print, read the environment and
//! choose exit statuses.
//!
//! ```no_run
//! let arguments = ["loment", "ps", "--all"].map(std::ffi::OsString::from);
//! let status: std::process::ExitCode = loment_cli::main(&arguments);
//! ```

mod arguments;
mod attach;
mod commands;
mod containers_conf;
mod detach;
mod ecosystem;
mod error;
mod events;
mod global_flags;
mod globals;
mod hook_programs;
mod logins;
mod mounts_conf;
mod output;
mod persona;
mod programs;
#[doc(hidden)]
pub mod reference;
mod rootless;
mod runtime;
mod secret_programs;
mod short_names;
mod skopeo_globals;
mod storage_options;
mod sweeper;
mod template;
mod terminal;
mod units;
mod users_systemd;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use error::Error;
use globals::Globals;
use persona::Persona;

/// Runs the program: `arguments` includes its name.
pub fn main(arguments: &[OsString]) -> ExitCode {
    loment_sys::signal::default_sigchld();
    let name =
        arguments.first().and_then(|a| Path::new(a).file_name()).and_then(|n| n.to_str()).unwrap_or("loment");
    let rest = arguments.get(1..).unwrap_or_default();
    match name {
        "loment-runtime" | "runc" | "crun" => runtime::main(rest),
        _ if rest.first().is_some_and(|a| a == loment_monitor::launch::ARGUMENT) => monitor(),
        _ if rest.first().is_some_and(|a| a == sweeper::ARGUMENT) => sweeper::main(),
        _ if rest.first().is_some_and(|a| a == "runtime") => runtime::main(&rest[1..]),
        // As login(1) calls a login shell.
        "podmansh" | "-podmansh" => {
            let words = ["sh", "--"].map(OsString::from);
            engine(Persona::of("podman"), &[&words, rest].concat())
        }
        _ => engine(Persona::of(name), rest),
    }
}

#[inline(never)]
fn monitor() -> ExitCode {
    match loment_monitor::serve() {
        Ok(status) => status.into(),
        // Its first client sees the connection end; there is nobody else to tell.
        Err(_) => ExitCode::FAILURE,
    }
}

// Not part of `main`'s stack frame: the pages of one that is big are touched by the runtime and the monitor too.
#[inline(never)]
fn engine(persona: &'static Persona, arguments: &[OsString]) -> ExitCode {
    // A closed reader of our output is an error of the write, not a signal.
    loment_sys::signal::ignore_sigpipe();
    loment_sys::memory::keep_no_large_blocks();
    let mut result = run(persona, arguments);
    let mut arguments = arguments.to_vec();
    // Each turn brings one flag to where it is understood, before anything is done.
    while let Err(Error::UnknownFlag { flag, .. }) = &result {
        let Some(moved) = globals::bring_forward(persona, &arguments, flag) else { break };
        arguments = moved;
        result = run(persona, &arguments);
    }
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) if persona.remote_only => {
            let text = error::one_line(&error);
            if !text.is_empty() {
                fatal(&text);
            }
            ExitCode::from(error.status_of_skopeo())
        }
        Err(error) => {
            let status = match persona.docker_documents {
                true => error.status_of_docker(is_run(persona, &arguments)),
                false => error.status(error::ENGINE),
            };
            let text = error::one_line(&error);
            if !text.is_empty() {
                output::complain(&format!("Error: {text}"));
            }
            ExitCode::from(status)
        }
    }
}

fn run(persona: &'static Persona, arguments: &[OsString]) -> Result<u8, Error> {
    let given = arguments;
    let (globals, arguments) = Globals::parse(persona, given)?;
    if let Some(described) = arguments.first().and_then(commands::complete::is_asked) {
        let before = given.iter().take_while(|word| **word != arguments[0]);
        return commands::complete::answer(persona, before.cloned().collect(), &arguments[1..], described);
    }
    if let Some(timeout) = globals.timeout {
        end_after(timeout);
    }
    globals.redirect()?;
    let result = commands::run(&globals, &arguments);
    sweeper::leave(globals.root(), globals.runroot());
    result
}

/// Whether a program was to be run in a container of its own.
fn is_run(persona: &'static Persona, arguments: &[OsString]) -> bool {
    let words = Globals::parse(persona, arguments).map(|(_, words)| words).unwrap_or_default();
    let words: Vec<_> = words.iter().take(2).map(|word| word.to_str().unwrap_or_default()).collect();
    matches!(words[..], ["run", ..] | ["container", "run"])
}

/// An error in skopeo's words.
fn fatal(text: &str) {
    log_line("fatal", text);
}

/// What skopeo, and Podman, say besides results.
fn log_line(level: &str, text: &str) {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
    output::complain(&format!("time=\"{now}\" level={level} msg={text:?}"));
}

/// Ends the program when it takes too long. What it has begun is swept later, as after a kill.
#[expect(clippy::exit, reason = "the thread that works may be anywhere, and is not asked")]
fn end_after(timeout: std::time::Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(timeout);
        fatal(&format!("the command took longer than --command-timeout, {timeout:?}"));
        std::process::exit(1);
    });
}

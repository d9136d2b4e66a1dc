//! `top`

pub(super) mod columns;

use clap::Parser;
use loment_engine::{Engine, Exec, Process, Streams};

use super::choose::latest;
use crate::attach::{Session, exit_status};
use crate::error::Error;
use crate::globals::Globals;
use crate::output::{print, table};
use columns::{Column, DOCKER, PODMAN, column};

/// Show the processes of a container
///
/// Columns are named in the order in which they are shown: args, capamb, capbnd, capeff, capinh, capprm, comm, etime, group, groups,
/// hgroup, hgroups, hpid, huser, label, nice, pcpu, pgid, pid, ppid, rgroup, rss, ruser, seccomp, state, stime, time, tty, user, vsz.
/// Anything else is for the container's own ps, which is then run in it.
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// The container that was made last
    #[arg(short, long)]
    latest: bool,
    /// Container, unless a flag says which, then columns, each by itself or several with commas
    #[arg(value_name = "CONTAINER [COLUMN...]", num_args = 0.., trailing_var_arg = true)]
    words: Vec<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let (name, words) = match (flags.latest, flags.words.split_first()) {
        (true, _) => (latest(&engine)?, flags.words.as_slice()),
        (false, Some((name, words))) => (name.clone(), words),
        (false, None) => {
            return Err(Error::Invalid("you must provide the name or id of a running container".into()));
        }
    };
    of_several(globals, &engine, &[name], words)
}

/// The same of several containers, in one table.
pub(super) fn of_several(
    globals: &Globals,
    engine: &Engine,
    names: &[String],
    words: &[String],
) -> Result<u8, Error> {
    let columns = match words {
        [] if globals.persona.docker_documents => DOCKER.to_vec(),
        [] => PODMAN.to_vec(),
        words => match (chosen(words), names) {
            (Some(columns), _) => columns,
            (None, [name, ..]) => return own_ps(engine, &engine.container(name)?.config.id, words),
            (None, []) => return Ok(0),
        },
    };
    let mut processes: Vec<Process> = Vec::new();
    for name in names {
        for process in engine.processes(&engine.container(name)?)? {
            // Containers may have the same ones.
            if processes.iter().all(|other| other.host_pid != process.host_pid) {
                processes.push(process);
            }
        }
    }
    let mut rows = vec![columns.iter().map(|column| column.header.to_owned()).collect::<Vec<_>>()];
    rows.extend(processes.iter().map(|process| columns.iter().map(|c| cell(&(c.value)(process))).collect()));
    print(&table(&rows)?)?;
    Ok(0)
}

/// What is shown can be chosen by programs in the container: it has no part in the table's form, nor in the terminal's state.
fn cell(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// The columns that are named; none when one is not known. Each is shown once.
fn chosen(words: &[String]) -> Option<Vec<Column>> {
    let mut columns: Vec<Column> = Vec::new();
    for name in words.iter().flat_map(|word| word.split(',')).map(str::trim) {
        let column = column(name)?;
        if columns.iter().all(|other| other.name != column.name) {
            columns.push(column);
        }
    }
    Some(columns)
}

/// What the container's own ps shows with these arguments.
fn own_ps(engine: &Engine, id: &str, words: &[String]) -> Result<u8, Error> {
    let streams = Streams { stdin: false, stdout: true, stderr: true };
    let args = std::iter::once("ps".to_owned()).chain(words.iter().cloned()).collect();
    let connection = engine.exec(id, Exec { args, streams, ..Exec::default() }, &[])?;
    exit_status(
        Session { connection, streams, terminal: false, detach_keys: "", forward_signals: true }.run(),
    )
}

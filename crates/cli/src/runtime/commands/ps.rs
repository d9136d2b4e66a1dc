//! `ps`.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsFd;

use anyhow::{Context, bail};
use loment_sys::spawn::{Program, spawn};
use loment_sys::wait::{Exit, wait_exit};
use rustix::fs::{MemfdFlags, memfd_create};

use super::super::arguments::{Argument, Arguments, unknown};
use super::super::globals::{Runtime, id};
use super::list::is_json;
use super::print;

pub(super) const HELP: &str = "\
List the processes of a container

Usage: loment-runtime ps [OPTIONS] <ID> [PS-OPTION...]

Arguments:
  [PS-OPTION...]  Options of ps(1), which is executed for the table [default: -ef]

Options:
  -f, --format <FORMAT>  Print a table or json [default: table]
  -h, --help             Print help
";

pub(super) fn run(arguments: &mut Arguments<'_>, runtime: &Runtime<'_>) -> anyhow::Result<u8> {
    let (mut words, mut json) = (Vec::new(), false);
    while let Some(argument) = arguments.next()? {
        match argument {
            Argument::Word(word) => {
                words.push(word);
                // What follows the id belongs to ps.
                break;
            }
            Argument::Flag(flag @ ("-f" | "--format")) => json = is_json(arguments.value(flag)?)?,
            Argument::Flag(flag) => return unknown(flag),
        }
    }
    let found = runtime.find(&id(&words)?)?;
    let mut options = arguments.remaining()?;
    let pids = match found.place()? {
        Some(place) if place.group().exists() => place.group().pids()?,
        Some(_) => Vec::new(),
        None => Some(found.pid()).filter(|&p| p != 0).into_iter().collect(),
    };
    if json {
        print(&format!("{}\n", serde_json::json!(pids)))?;
        return Ok(0);
    }
    if options.is_empty() {
        options.push("-ef".into());
    }
    let (exit, output) = ps(&options).context("execute ps")?;
    if exit != Exit::Code(0) {
        bail!("ps {}: {}", options.join(" "), output.trim());
    }
    print(&rows_of(&output, &pids)?)?;
    Ok(0)
}

/// Runs ps(1): how it ended, and what it said. (The standard library's way of running programs would link the C library's
/// `fork`, and with it name services, which do not work in a static binary.)
fn ps(options: &[String]) -> anyhow::Result<(Exit, String)> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    let found = std::env::split_paths(&path).find_map(|dir| File::open(dir.join("ps")).ok());
    let program = found.context("it is not in $PATH")?;
    let argv = [c"ps".to_owned()].into_iter().map(Ok).chain(options.iter().map(|o| CString::new(o.as_str())));
    let mut output = File::from(memfd_create("ps", MemfdFlags::CLOEXEC)?);
    let null = File::open("/dev/null")?;
    let (_, pidfd) = spawn(&Program {
        exe: loment_sys::spawn::Exe::File(program.as_fd()),
        argv: &argv.collect::<Result<Vec<_>, _>>()?,
        envp: &[c"LANG=C.UTF-8".to_owned()],
        fds: &[null.as_fd(), output.as_fd(), output.as_fd()],
        cgroup: None,
        tasks: &[],
        orphan: false,
    })?;
    let exit = wait_exit(pidfd)?;
    output.rewind()?;
    let mut text = Vec::new();
    output.read_to_end(&mut text)?;
    Ok((exit, String::from_utf8_lossy(&text).into_owned()))
}

/// The header, and the lines about those processes.
fn rows_of(table: &str, pids: &[i32]) -> anyhow::Result<String> {
    let mut lines = table.lines();
    let header = lines.next().unwrap_or_default();
    let column = header.split_whitespace().position(|name| name == "PID");
    let column = column.context("the output of ps has no column PID: choose options that show it")?;
    let about = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|pid| pid.parse().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    };
    Ok(std::iter::once(header).chain(lines.filter(about)).map(|l| format!("{l}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::rows_of;

    #[test]
    fn lines_of_other_processes_are_left_out() {
        let table = "UID  PID PPID CMD\nroot   1    0 init 7\nroot   7    1 sh\n";
        assert_eq!(rows_of(table, &[7]).unwrap(), "UID  PID PPID CMD\nroot   7    1 sh\n");
        assert!(rows_of("UID CMD\n", &[7]).is_err());
    }
}

//! `ps`.

use std::process::Command;

use anyhow::{Context, bail};

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
    let output = Command::new("ps").args(&options).output().context("execute ps")?;
    if !output.status.success() {
        bail!("ps {}: {}", options.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    print(&rows_of(&String::from_utf8_lossy(&output.stdout), &pids)?)?;
    Ok(0)
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

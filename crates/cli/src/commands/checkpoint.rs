//! `container checkpoint` and `container restore`

use std::time::Instant;

use clap::{CommandFactory, Parser};
use loment_engine::{Checkpoint, CheckpointOptions, Status};
use serde_json::{Value, json};

use super::choose::Choice;
use super::table::Command;
use super::{for_each, parse};
use crate::attach::own_streams;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::{complain, print};
use crate::runtime::find_criu;

fn refused(flag: &str) -> Error {
    Error::Invalid(format!(
        "{flag} is refused: checkpoints are not moved to archives and images yet: a checkpoint stays with its container"
    ))
}

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "container checkpoint",
        about: "Save the processes of containers, and end them",
        parser: Save::command,
        run: |g, a| run(g, &parse(g, "container checkpoint", a)?),
    },
    Command {
        name: "container restore",
        about: "Make containers go on from where they were saved",
        parser: Restore::command,
        run: |g, a| run_restore(g, &parse(g, "container restore", a)?),
    },
];

/// Save the processes of containers, and end them
#[derive(Parser, Debug)]
struct Save {
    /// Save every running container
    #[arg(short, long)]
    all: bool,
    /// The container that was made last
    #[arg(short, long)]
    latest: bool,
    /// Let them go on afterwards
    #[arg(short = 'R', long)]
    leave_running: bool,
    /// Save only their memory, while they go on
    #[arg(short = 'P', long)]
    pre_checkpoint: bool,
    /// Save only the memory that changed since that
    #[arg(long)]
    with_previous: bool,
    /// Keep CRIU's logs and statistics
    #[arg(short, long)]
    keep: bool,
    /// Save open TCP connections
    #[arg(long)]
    tcp_established: bool,
    /// Save file locks
    #[arg(long)]
    file_locks: bool,
    /// Print how long it took
    #[arg(long)]
    print_stats: bool,
    /// Refused: checkpoints are not moved to archives and images yet
    #[arg(short, long, hide = true, value_name = "FILE")]
    export: Option<String>,
    /// Refused: checkpoints are not moved to archives and images yet
    #[arg(short, long, hide = true, value_name = "ALGORITHM")]
    compress: Option<String>,
    /// Refused: checkpoints are not moved to archives and images yet
    #[arg(long, hide = true, value_name = "IMAGE")]
    create_image: Option<String>,
    /// Refused: checkpoints are not moved to archives and images yet
    #[arg(long, hide = true)]
    ignore_rootfs: bool,
    /// Refused: checkpoints are not moved to archives and images yet
    #[arg(long, hide = true)]
    ignore_volumes: bool,
    /// Containers
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

fn run(globals: &Globals, flags: &Save) -> Result<u8, Error> {
    let Save { export, compress, create_image, ignore_rootfs, ignore_volumes, .. } = flags;
    for (is_given, flag) in [(export.is_some(), "--export"), (create_image.is_some(), "--create-image")] {
        if is_given {
            return Err(refused(flag));
        }
    }
    // The words are Podman's, here and below.
    for (is_given, flag) in [
        (*ignore_rootfs, "--ignore-rootfs"),
        (*ignore_volumes, "--ignore-volumes"),
        (compress.is_some(), "--compress"),
    ] {
        if is_given {
            return Err(Error::Invalid(format!("{flag} can only be used with --export")));
        }
    }
    if flags.pre_checkpoint && flags.with_previous {
        return Err(Error::Invalid("--with-previous can not be used with --pre-checkpoint".into()));
    }
    let engine = globals.engine()?;
    let choice =
        Choice { all: flags.all, latest: flags.latest, names: &flags.containers, ..Choice::default() };
    let names = choice.ids(globals, &engine, |c| c.status == Status::Running)?;
    let criu = find_criu()?;
    let how = Checkpoint {
        options: options(flags.tcp_established, flags.file_locks),
        leave_running: flags.leave_running,
        pre: flags.pre_checkpoint,
        with_previous: flags.with_previous,
    };
    let (began, mut statistics) = (Instant::now(), Vec::new());
    let status = for_each(&names, |name| {
        let began = Instant::now();
        let images = engine.checkpoint(name, &criu, &how)?;
        if flags.print_stats {
            let s = images.dump_stats().unwrap_or_default();
            statistics.push(json!({
                "Id": name, "runtime_checkpoint_duration": microseconds(began),
                "criu_statistics": {
                    "freezing_time": s.freezing_time, "frozen_time": s.frozen_time, "memdump_time": s.memdump_time,
                    "memwrite_time": s.memwrite_time, "pages_scanned": s.pages_scanned, "pages_written": s.pages_written,
                },
            }));
        }
        if !flags.keep {
            images.forget_logs();
        }
        if flags.print_stats { Ok(()) } else { print(&format!("{name}\n")) }
    })?;
    tell(flags.print_stats, "podman_checkpoint_duration", began, statistics)?;
    Ok(status)
}

/// Make containers go on from where they were saved
#[derive(Parser, Debug)]
struct Restore {
    /// Restore every container that was saved
    #[arg(short, long)]
    all: bool,
    /// The container that was made last
    #[arg(short, long)]
    latest: bool,
    /// Keep what was saved, and CRIU's logs and statistics
    #[arg(short, long)]
    keep: bool,
    /// Restore open TCP connections
    #[arg(long)]
    tcp_established: bool,
    /// Close TCP connections that were open
    #[arg(long)]
    tcp_close: bool,
    /// Restore file locks
    #[arg(long)]
    file_locks: bool,
    /// Print how long it took
    #[arg(long)]
    print_stats: bool,
    /// Refused: checkpoints are not moved to archives and images yet
    #[arg(short, long, hide = true, value_name = "FILE")]
    import: Option<String>,
    /// Refused: checkpoints are not moved to archives and images yet
    #[arg(long, hide = true, value_name = "FILE")]
    import_previous: Option<String>,
    /// Refused: checkpoints are not moved to archives and images yet
    #[arg(short, long, hide = true, value_name = "NAME")]
    name: Option<String>,
    /// Refused: checkpoints are not moved to archives and images yet
    #[arg(long, hide = true, value_name = "POD")]
    pod: Option<String>,
    /// Refused: checkpoints are not moved to archives and images yet
    #[arg(short, long, hide = true, value_name = "PORT")]
    publish: Vec<String>,
    /// Refused: checkpoints are not moved to archives and images yet
    #[arg(long, hide = true)]
    ignore_rootfs: bool,
    /// Refused: checkpoints are not moved to archives and images yet
    #[arg(long, hide = true)]
    ignore_volumes: bool,
    /// Refused: checkpoints are not moved to archives and images yet
    #[arg(long, hide = true)]
    ignore_static_ip: bool,
    /// Refused: checkpoints are not moved to archives and images yet
    #[arg(long, hide = true)]
    ignore_static_mac: bool,
    /// Containers
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

fn run_restore(globals: &Globals, flags: &Restore) -> Result<u8, Error> {
    if flags.import.is_some() {
        return Err(refused("--import"));
    }
    let with_import = [
        (flags.import_previous.is_some(), "--import-previous"),
        (flags.name.is_some(), "--name"),
        (flags.pod.is_some(), "--pod"),
        (!flags.publish.is_empty(), "--publish"),
        (flags.ignore_rootfs, "--ignore-rootfs"),
        (flags.ignore_volumes, "--ignore-volumes"),
        (flags.ignore_static_ip, "--ignore-static-ip"),
        (flags.ignore_static_mac, "--ignore-static-mac"),
    ];
    if let Some((_, flag)) = with_import.into_iter().find(|(is_given, _)| *is_given) {
        return Err(Error::Invalid(format!("{flag} can only be used with image or --import")));
    }
    let engine = globals.engine()?;
    let choice =
        Choice { all: flags.all, latest: flags.latest, names: &flags.containers, ..Choice::default() };
    let names = choice.ids(globals, &engine, |c| !c.status.is_active() && engine.is_saved(&c.id))?;
    let criu = find_criu()?;
    let mut options = options(flags.tcp_established, flags.file_locks);
    options.tcp_close = flags.tcp_close;
    let (began, mut statistics) = (Instant::now(), Vec::new());
    let status = for_each(&names, |name| {
        let began = Instant::now();
        for warning in engine.restore(name, &criu, &options, Some(own_streams()))? {
            complain(&format!("Warning: {warning}"));
        }
        if flags.print_stats {
            let s = engine.saved(name)?.restore_stats().unwrap_or_default();
            statistics.push(json!({
                "Id": name, "runtime_restore_duration": microseconds(began),
                "criu_statistics": {
                    "forking_time": s.forking_time, "restore_time": s.restore_time, "pages_restored": s.pages_restored,
                },
            }));
        }
        if !flags.keep {
            engine.forget_checkpoint(name)?;
        }
        if flags.print_stats { Ok(()) } else { print(&format!("{name}\n")) }
    })?;
    tell(flags.print_stats, "podman_restore_duration", began, statistics)?;
    Ok(status)
}

fn options(tcp_established: bool, file_locks: bool) -> CheckpointOptions {
    CheckpointOptions { tcp_established, file_locks, ..CheckpointOptions::default() }
}

fn microseconds(since: Instant) -> u64 {
    since.elapsed().as_micros().try_into().unwrap_or(u64::MAX)
}

/// Podman's document.
fn tell(is_wanted: bool, name: &str, began: Instant, containers: Vec<Value>) -> Result<(), Error> {
    if !is_wanted {
        return Ok(());
    }
    let document = json!({name: microseconds(began), "container_statistics": containers});
    print(&format!("{document:#}\n"))
}

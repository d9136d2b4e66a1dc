//! `container checkpoint` and `container restore`, and Docker's `checkpoint`

mod named;
mod restore;

use std::path::PathBuf;
use std::time::Instant;

use clap::{CommandFactory, Parser};
use loment_engine::{Checkpoint, CheckpointOptions, ExportCheckpoint, Status};
use loment_image::Compression;
use serde_json::{Value, json};

use super::choose::Choice;
use super::pull::short_names;
use super::table::Command;
use super::{for_each, parse};
use crate::error::Error;
use crate::globals::Globals;
use crate::output::print;
use crate::runtime::find_criu;

pub(super) use self::named::WORDS;

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
        parser: restore::Flags::command,
        run: |g, a| restore::run(g, &parse(g, "container restore", a)?),
    },
    Command {
        name: "checkpoint create",
        about: "Save the processes of a container under a name, and end them",
        parser: named::CreateFlags::command,
        run: |g, a| named::create(g, &parse(g, "checkpoint create", a)?),
    },
    Command {
        name: "checkpoint ls",
        about: "List what was saved of a container",
        parser: named::ListFlags::command,
        run: |g, a| named::list(g, &parse(g, "checkpoint ls", a)?),
    },
    Command {
        name: "checkpoint rm",
        about: "Remove what was saved of a container under a name",
        parser: named::RemoveFlags::command,
        run: |g, a| named::remove(g, &parse(g, "checkpoint rm", a)?),
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
    /// Write it to an archive, too, with the files that the container changed and its volumes
    #[arg(short, long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// Compress the archive: none, gzip or zstd [default: zstd]
    #[arg(short, long, value_name = "ALGORITHM")]
    compress: Option<String>,
    /// Make an image of it, too, with the same
    #[arg(long, value_name = "IMAGE")]
    create_image: Option<String>,
    /// Leave the files that the container changed out of the archive
    #[arg(long)]
    ignore_rootfs: bool,
    /// Leave its volumes out of the archive
    #[arg(long)]
    ignore_volumes: bool,
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
    /// Containers
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Where a checkpoint goes besides its container.
struct Export<'f> {
    file: Option<(PathBuf, Compression)>,
    image: Option<&'f str>,
}

impl Save {
    /// Where it goes besides; what cannot be said together is refused in Podman's words.
    fn export(&self) -> Result<Option<Export<'_>>, Error> {
        let Self { export, compress, create_image, ignore_rootfs, ignore_volumes, .. } = self;
        if compress.is_some() && export.is_none() {
            return Err(Error::Invalid("--compress can only be used with --export".into()));
        }
        for (is_given, flag) in [(*ignore_rootfs, "--ignore-rootfs"), (*ignore_volumes, "--ignore-volumes")] {
            if is_given && export.is_none() && create_image.is_none() {
                return Err(Error::Invalid(format!("{flag} can only be used with --export")));
            }
        }
        if self.pre_checkpoint && self.with_previous {
            return Err(Error::Invalid("--with-previous can not be used with --pre-checkpoint".into()));
        }
        if create_image.is_some() && (self.pre_checkpoint || self.with_previous) {
            return Err(Error::Invalid(
                "--create-image makes an image of a whole checkpoint: leave out --pre-checkpoint and --with-previous, or use --export"
                    .into(),
            ));
        }
        if export.is_none() && create_image.is_none() {
            return Ok(None);
        }
        let compression = match compress.as_deref().map(str::to_ascii_lowercase) {
            None => Compression::Zstd,
            Some(name) => name.parse().map_err(|_| {
                Error::Invalid(format!(
                    "selected compression algorithm ({name:?}) not supported. Please select one from: gzip, none, zstd"
                ))
            })?,
        };
        let file = export.clone().map(|path| (path, compression));
        Ok(Some(Export { file, image: create_image.as_deref() }))
    }
}

fn run(globals: &Globals, flags: &Save) -> Result<u8, Error> {
    let export = flags.export()?;
    let engine = globals.engine()?;
    let choice =
        Choice { all: flags.all, latest: flags.latest, names: &flags.containers, ..Choice::default() };
    let names = choice.ids(globals, &engine, |c| c.status == Status::Running)?;
    if export.is_some() && names.len() > 1 {
        return Err(Error::Invalid(
            "--export and --create-image are for one container: one would replace the other".into(),
        ));
    }
    let full = |name: &str| Ok::<_, Error>(engine.full_name(name, &short_names(globals)?)?);
    let export = match export {
        None => None,
        Some(Export { file, image }) => Some(ExportCheckpoint {
            file,
            image: image.map(full).transpose()?,
            ignore_rootfs: flags.ignore_rootfs,
            ignore_volumes: flags.ignore_volumes,
        }),
    };
    let criu = find_criu()?;
    let how = Checkpoint {
        options: options(flags.tcp_established, flags.file_locks),
        leave_running: flags.leave_running,
        pre: flags.pre_checkpoint,
        with_previous: flags.with_previous,
        export,
        place: None,
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

//! `cp`

use std::io::{BufReader, IsTerminal};

use clap::Parser;
use loment_engine::{CopyFiles, FilesAt, NewOwner};
use rustix::fs::FileType;

use crate::error::Error;
use crate::globals::Globals;

/// Copy files into a container or out of it
///
/// A path in a container has its name or id and a colon before it. Of a directory with /. behind it, what is in it is copied. - is an
/// archive: standard input or output. Nothing leads out of a container, whatever links it has.
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Give files in a container to its user; without, owners stay who they are. As docker: let owners stay [default: true, false as docker]
    #[arg(short, long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    archive: Option<bool>,
    /// Copy what a link leads to, not the link (as docker: otherwise the default)
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Let a directory take the place of a file, and a file that of a directory
    #[arg(long)]
    overwrite: bool,
    /// Accepted for compatibility: nothing is paused
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pause: Option<bool>,
    /// Accepted for compatibility: there is no progress to show
    #[arg(short, long)]
    quiet: bool,
    /// What is copied
    #[arg(value_name = "[CONTAINER:]PATH")]
    source: String,
    /// Where to
    #[arg(value_name = "[CONTAINER:]PATH")]
    target: String,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let docker = globals.persona.docker_documents;
    let owner = match (docker, flags.archive) {
        (false, None | Some(true)) => NewOwner::ContainersUser,
        (false, Some(false)) | (true, Some(true)) => NewOwner::Same,
        (true, None | Some(false)) => NewOwner::Root,
    };
    let from = match flags.source.as_str() {
        "-" if std::io::stdin().is_terminal() => {
            return Err(Error::Invalid(
                "cannot copy from a terminal: give an archive on standard input".into(),
            ));
        }
        "-" => {
            let stdin = std::io::stdin();
            let kind = rustix::fs::fstat(&stdin).map(|stat| FileType::from_raw_mode(stat.st_mode));
            let is_there = kind == Ok(FileType::RegularFile);
            FilesAt::Reader { source: Box::new(BufReader::new(stdin)), is_there }
        }
        text => side(text),
    };
    let to = match flags.target.as_str() {
        "-" if std::io::stdout().is_terminal() => {
            return Err(Error::Invalid("cannot copy to a terminal: redirect standard output".into()));
        }
        "-" => FilesAt::Writer(Box::new(std::io::stdout())),
        text => side(text),
    };
    let in_container = |at: &FilesAt<'_>| matches!(at, FilesAt::Container(..));
    if !in_container(&from) && !in_container(&to) {
        return Err(Error::Invalid("one of the paths must be in a container: write CONTAINER:PATH".into()));
    }
    let (follow, overwrite) = (flags.follow_link || !docker, flags.overwrite);
    let how = CopyFiles { owner, follow, overwrite, in_workdir: !docker };
    globals.engine()?.copy_files(from, to, how)?;
    Ok(0)
}

/// A path that begins with a slash or a dot is one here, whatever colons it has.
fn side(text: &str) -> FilesAt<'_> {
    match text.split_once(':') {
        Some((name, path)) if !text.starts_with(['/', '.']) && !name.contains('/') => {
            FilesAt::Container(name, path)
        }
        _ => FilesAt::Host(text),
    }
}

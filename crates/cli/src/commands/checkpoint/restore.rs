//! `container restore`

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use loment_engine::{
    CheckpointArchive, CheckpointOptions, Engine, ImportCheckpoint, PullPolicy, PullSettings,
};
use serde_json::{Value, json};

use super::{microseconds, options, tell};
use crate::attach::own_streams;
use crate::commands::access::access;
use crate::commands::choose::Choice;
use crate::commands::for_each;
use crate::commands::progress::Bars;
use crate::commands::pull::short_names;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::{complain, print};
use crate::runtime::find_criu;

/// Make containers go on from where they were saved
///
/// An image that checkpoint --create-image made becomes a new container, as an archive does that is imported.
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Restore every container that was saved
    #[arg(short, long)]
    all: bool,
    /// The container that was made last
    #[arg(short, long)]
    latest: bool,
    /// Keep what was saved, and CRIU's logs and statistics
    #[arg(short, long)]
    keep: bool,
    /// Make a container of an archive that checkpoint --export wrote; it may do what it might before
    #[arg(short, long, value_name = "FILE")]
    import: Option<PathBuf>,
    /// Take the memory from this archive that checkpoint --pre-checkpoint wrote, for one of checkpoint --with-previous
    #[arg(long, value_name = "FILE")]
    import_previous: Option<PathBuf>,
    /// Name the container that is made, and give it an id of its own
    #[arg(short, long, value_name = "NAME")]
    name: Option<String>,
    /// Put it into this pod: it shares what it shared with the one it was in
    #[arg(long, value_name = "POD")]
    pod: Option<String>,
    /// Do not restore the files that it had changed
    #[arg(long)]
    ignore_rootfs: bool,
    /// Use volumes as they are here
    #[arg(long)]
    ignore_volumes: bool,
    /// Accepted for compatibility: there is no network yet that has addresses
    #[arg(long)]
    ignore_static_ip: bool,
    /// Accepted for compatibility: there is no network yet that has addresses
    #[arg(long)]
    ignore_static_mac: bool,
    /// Refused: there is no network yet that has ports
    #[arg(short, long, hide = true, value_name = "PORT")]
    publish: Vec<String>,
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
    /// Containers, and images that are checkpoints
    #[arg(value_name = "CONTAINER|IMAGE")]
    containers: Vec<String>,
}

/// What is restored: a container, or what an archive makes one of.
struct Saved {
    name: String,
    archive: Option<CheckpointArchive>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    flags.check_import()?;
    let engine = globals.engine()?;
    let saved = flags.saved(globals, &engine)?;
    let archives = saved.iter().filter(|saved| saved.archive.is_some()).count();
    flags.check(archives)?;
    let previous = flags.import_previous.as_ref().map(|path| engine.open_checkpoint(path)).transpose()?;
    let criu = find_criu()?;
    let mut options: CheckpointOptions = options(flags.tcp_established, flags.file_locks);
    options.tcp_close = flags.tcp_close;
    let how = ImportCheckpoint {
        name: flags.name.clone(),
        pod: flags.pod.clone(),
        ignore_rootfs: flags.ignore_rootfs,
        ignore_volumes: flags.ignore_volumes,
        cgroup_manager: globals.group_manager()?,
        keep: flags.keep,
    };
    let (began, mut statistics) = (Instant::now(), Vec::new());
    let mut all = saved.iter();
    let status = for_each(saved.iter().map(|saved| &saved.name), |name| {
        let began = Instant::now();
        let (name, warnings) = match all.next().and_then(|saved| saved.archive.as_ref()) {
            None => (name.to_owned(), engine.restore(name, &criu, &options, Some(own_streams()))?),
            Some(archive) => {
                obtain_image(globals, &engine, archive)?;
                let (archives, stdio) = ((archive, previous.as_ref()), Some(own_streams()));
                let (made, warnings) = engine.restore_archive(archives, &how, (&criu, &options), stdio)?;
                (made.config.id, warnings)
            }
        };
        warnings.iter().for_each(|warning| complain(&format!("Warning: {warning}")));
        if flags.print_stats {
            statistics.push(figures(&engine, &name, began)?);
        }
        if !flags.keep {
            engine.forget_checkpoint(&name)?;
        }
        if flags.print_stats { Ok(()) } else { print(&format!("{name}\n")) }
    })?;
    tell(flags.print_stats, "podman_restore_duration", began, statistics)?;
    Ok(status)
}

fn figures(engine: &Engine, name: &str, began: Instant) -> Result<Value, Error> {
    let s = engine.saved(name)?.restore_stats().unwrap_or_default();
    Ok(json!({
        "Id": name, "runtime_restore_duration": microseconds(began),
        "criu_statistics": {
            "forking_time": s.forking_time, "restore_time": s.restore_time, "pages_restored": s.pages_restored,
        },
    }))
}

impl Flags {
    /// In Podman's words, here and below.
    fn check_import(&self) -> Result<(), Error> {
        if !self.publish.is_empty() {
            return Err(Error::Invalid(
                "--publish is refused: there is no network yet that has ports".into(),
            ));
        }
        if self.name.is_some() && self.tcp_established {
            return Err(Error::Invalid("--tcp-established cannot be used with --name".into()));
        }
        if self.import.is_none() {
            return Ok(());
        }
        if self.all || self.latest {
            return Err(Error::Invalid("cannot use --import with --all or --latest".into()));
        }
        match self.containers.is_empty() {
            true => Ok(()),
            false => Err(Error::Invalid("cannot use --import with positional arguments".into())),
        }
    }

    fn check(&self, archives: usize) -> Result<(), Error> {
        let of_archives = [
            (self.import_previous.is_some(), "--import-previous"),
            (self.ignore_rootfs, "--ignore-rootfs"),
            (self.ignore_volumes, "--ignore-volumes"),
            (self.name.is_some(), "--name"),
            (self.pod.is_some(), "--pod"),
        ];
        let given = of_archives.into_iter().find(|(is_given, _)| *is_given);
        match given {
            Some((_, flag)) if archives == 0 => {
                Err(Error::Invalid(format!("{flag} can only be used with image or --import")))
            }
            _ if archives > 1 && self.name.is_some() => {
                Err(Error::Invalid("--name can only be used with one checkpoint image".into()))
            }
            _ => Ok(()),
        }
    }

    fn saved(&self, globals: &Globals, engine: &Engine) -> Result<Vec<Saved>, Error> {
        if let Some(path) = &self.import {
            let archive = Some(engine.open_checkpoint(path)?);
            return Ok(vec![Saved { name: path.display().to_string(), archive }]);
        }
        let choice =
            Choice { all: self.all, latest: self.latest, names: &self.containers, ..Choice::default() };
        let names = choice.ids(globals, engine, |c| !c.status.is_active() && engine.is_saved(&c.id))?;
        names.into_iter().map(|name| saved(globals, engine, name)).collect()
    }
}

/// A container of that name, or an image where there is none.
fn saved(globals: &Globals, engine: &Engine, name: String) -> Result<Saved, Error> {
    match engine.container(&name) {
        Err(error @ loment_engine::Error::NoContainer { .. }) => {
            let Some((id, full)) = engine.find_checkpoint_image(&name, &short_names(globals)?)? else {
                return Err(error.into());
            };
            match engine.checkpoint_in_image(&id, &full)? {
                Some(archive) => Ok(Saved { name, archive: Some(archive) }),
                None => Err(Error::Invalid(format!("{name} is no container, and no image of a checkpoint"))),
            }
        }
        // What else is wrong with it is said when it is restored.
        _ => Ok(Saved { name, archive: None }),
    }
}

/// Pulls the image that a container was made from if that is not here; another image of that name is not the same.
fn obtain_image(globals: &Globals, engine: &Engine, archive: &CheckpointArchive) -> Result<(), Error> {
    let Some(image) = archive.image() else { return Ok(()) };
    if engine.store().image(&image.id).map_err(loment_engine::Error::from)?.is_some() {
        return Ok(());
    }
    let settings = PullSettings {
        short_names: short_names(globals)?,
        access: access(None, None, None, globals.chosen.clone())?,
        ..PullSettings::default()
    };
    let missing = |why: String| {
        Error::Invalid(format!(
            "the container was made from the image {} with the id {}, which is not here{why}: load it",
            image.name,
            image.id.hex()
        ))
    };
    let found = engine.obtain(&image.name, PullPolicy::Missing, &settings, &mut Bars::new(false), || ());
    match found {
        Ok((id, _)) if id == image.id => Ok(()),
        Ok((id, _)) => Err(missing(format!("; what has that name here is {}", id.hex()))),
        Err(error) => Err(missing(format!(" ({error})"))),
    }
}

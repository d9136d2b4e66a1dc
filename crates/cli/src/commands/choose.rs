//! Which containers a command is for: one way for all commands.

use std::path::{Path, PathBuf};

use clap::Args;
use loment_engine::{Engine, Listed, Which};

use super::pull::short_names;
use crate::error::{Doing, Error};
use crate::globals::Globals;

/// No file with an id is longer, in bytes.
const MAX_ID_FILE: u64 = 4096;

/// Flags of commands that are for several containers.
#[derive(Args, Debug)]
pub(super) struct Chosen {
    /// The container that was made last
    #[arg(short, long)]
    pub(super) latest: bool,
    /// Containers whose ids are in these files
    #[arg(long, value_name = "FILE")]
    pub(super) cidfile: Vec<PathBuf>,
    /// Containers
    #[arg(value_name = "CONTAINER")]
    pub(super) containers: Vec<String>,
}

/// What was typed about which containers are meant.
#[derive(Debug, Default)]
pub(super) struct Choice<'a> {
    pub(super) all: bool,
    pub(super) latest: bool,
    pub(super) filters: &'a [String],
    pub(super) files: &'a [PathBuf],
    pub(super) names: &'a [String],
    /// A file that is not there means no container.
    pub(super) ignore: bool,
}

impl Chosen {
    pub(super) fn choice(&self, all: bool) -> Choice<'_> {
        Choice {
            all,
            latest: self.latest,
            files: &self.cidfile,
            names: &self.containers,
            ..Choice::default()
        }
    }
}

impl<'a> Choice<'a> {
    pub(super) fn with_filters(self, filters: &'a [String]) -> Self {
        Self { filters, ..self }
    }

    /// Names, ids, and the beginnings of ids of the containers that are meant; with `all` every one that `which` is true of.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what cannot be said together, and when nothing is said.
    pub(super) fn ids(
        &self,
        globals: &Globals,
        engine: &Engine,
        which: impl Fn(&Listed) -> bool,
    ) -> Result<Vec<String>, Error> {
        self.check()?;
        if !self.filters.is_empty() {
            return filtered(globals, engine, self.filters, |c| !self.all || which(c));
        }
        if self.all {
            // The newest first: what another one needs was made before it.
            return Ok(engine.list(Which::All)?.into_iter().rev().filter(which).map(|c| c.id).collect());
        }
        if self.latest {
            return Ok(vec![latest(engine)?]);
        }
        let mut names = self.names.to_vec();
        for file in self.files {
            names.extend(id_in(file, self.ignore)?);
        }
        Ok(names)
    }

    /// In Podman's words.
    fn check(&self) -> Result<(), Error> {
        let message = match self.names {
            [] if !self.filters.is_empty() => return Ok(()),
            _ if !self.filters.is_empty() => "--filter takes no arguments",
            _ if !self.files.is_empty() && (self.all || self.latest) => {
                "--all, --latest, and --cidfile cannot be used together"
            }
            _ if self.all && self.latest => "--all and --latest cannot be used together",
            [_, ..] if self.all => "no arguments are needed with --all",
            [_, ..] if self.latest => "--latest and containers cannot be used together",
            [] if !self.all && !self.latest && self.files.is_empty() => {
                "you must provide at least one name or id"
            }
            _ => return Ok(()),
        };
        Err(Error::Invalid(message.into()))
    }
}

/// Ids of those that the filters of `ps`, and `which`, are true of; the newest first.
pub(super) fn filtered(
    globals: &Globals,
    engine: &Engine,
    filters: &[String],
    which: impl Fn(&Listed) -> bool,
) -> Result<Vec<String>, Error> {
    let filters = engine.list_filters(filters, || short_names(globals))?;
    let all = engine.list(Which::All)?.into_iter().rev();
    Ok(all.filter(|c| filters.keep(c) && which(c)).map(|c| c.id).collect())
}

/// The one container that a command is for.
///
/// # Errors
/// [`Error::Invalid`] when there is a name and `latest`, or neither, which `missing` says.
pub(super) fn one(
    engine: &Engine,
    latest_one: bool,
    name: Option<&str>,
    missing: &str,
) -> Result<String, Error> {
    match (latest_one, name) {
        (true, None) => latest(engine),
        (true, Some(_)) => Err(Error::Invalid("--latest and containers cannot be used together".into())),
        (false, Some(name)) => Ok(name.to_owned()),
        (false, None) => Err(Error::Invalid(missing.into())),
    }
}

/// The id of the container that was made last.
pub(super) fn latest(engine: &Engine) -> Result<String, Error> {
    // The oldest are first. One that cannot be read does not say when it was made.
    let last = engine.list(Which::All)?.pop().filter(|c| !c.created.is_empty());
    last.map(|c| c.id).ok_or_else(|| Error::Invalid("--latest: there is no container".into()))
}

/// The id in a file that `--cidfile` wrote; none where there is no file and `ignore` says that this is no error.
pub(super) fn id_in(path: &Path, ignore: bool) -> Result<Option<String>, Error> {
    let reading = || format!("reading CIDFile: read {}", path.display());
    let file = match std::fs::File::open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && ignore => return Ok(None),
        // In Podman's words.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let path = path.display();
            return Err(Error::Invalid(format!("reading CIDFile: open {path}: no such file or directory")));
        }
        file => file.doing(|| format!("reading CIDFile: open {}", path.display()))?,
    };
    let text = std::io::read_to_string(std::io::Read::take(file, MAX_ID_FILE)).doing(reading)?;
    match text.lines().next().map(str::trim) {
        Some(id) if !id.is_empty() => Ok(Some(id.to_owned())),
        _ => Err(Error::Invalid(format!("there is no id in {}", path.display()))),
    }
}

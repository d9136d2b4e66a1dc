//! Flags: what a container is called.

use std::path::PathBuf;

use clap::Args;
use loment_engine::{Container, Create, Engine};

use crate::commands::choose::id_in;
use crate::commands::values::{label, label_file};
use crate::containers_conf::{CONTAINERS, ContainersConf};
use crate::ecosystem::variable;
use crate::error::{Doing, Error};
use crate::globals::Globals;

/// A variable, and the label that it becomes.
const UNIT: &str = "PODMAN_SYSTEMD_UNIT";

#[derive(Args, Debug)]
pub(super) struct IdentityFlags {
    /// Name the container
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Replace the container that has the name
    #[arg(long)]
    replace: bool,
    /// Write the container's id to a file
    #[arg(long, value_name = "FILE")]
    cidfile: Option<PathBuf>,
    /// Write the number of the container's first process to a file each time it starts
    #[arg(long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
    /// Write the number of the container's monitor to a file each time it starts
    #[arg(long, value_name = "FILE")]
    conmon_pidfile: Option<PathBuf>,
    /// Put the container into this pod; new:NAME makes one
    #[arg(long, value_name = "POD")]
    pod: Option<String>,
    /// Put the container into the pod whose id is in a file
    #[arg(long, value_name = "FILE", conflicts_with = "pod")]
    pod_id_file: Option<PathBuf>,
    /// Set a label
    #[arg(short, long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Read labels from a file
    #[arg(long, value_name = "FILE")]
    label_file: Vec<PathBuf>,
    /// Set an annotation for the runtime
    #[arg(long, value_name = "NAME=VALUE")]
    annotation: Vec<String>,
}

impl IdentityFlags {
    pub(super) fn apply(
        &self,
        globals: &Globals,
        conf: &ContainersConf,
        asked: &mut Create,
    ) -> Result<(), Error> {
        // Podman writes over what is there.
        let keeps = globals.persona.docker_documents;
        if let Some(file) = self.cidfile.as_ref().filter(|f| keeps && f.exists()) {
            let file = file.display();
            return Err(Error::Invalid(format!(
                "container ID file {file} exists: remove it, or give another"
            )));
        }
        let config = &mut asked.config;
        // Docker shows names with a slash before them, and people copy them.
        let name = self.name.as_deref().unwrap_or_default();
        config.name = name.strip_prefix('/').unwrap_or(name).to_owned();
        for file in &self.label_file {
            config.labels.extend(label_file(file)?);
        }
        for text in &self.label {
            config.labels.extend([label(text)?]);
        }
        let absolute =
            |file: &PathBuf| std::path::absolute(file).doing(|| format!("find {}", file.display()));
        config.pid_files.container = self.pidfile.as_ref().map(absolute).transpose()?;
        config.pid_files.monitor = self.conmon_pidfile.as_ref().map(absolute).transpose()?;
        config.annotations.extend(conf.list_as(CONTAINERS, "annotations", label)?);
        for text in &self.annotation {
            config.annotations.extend([label(text)?]);
        }
        // The service that this program is started by knows the container by it.
        if let Some(unit) = variable(UNIT).and_then(|unit| unit.into_string().ok()) {
            config.labels.entry(UNIT.into()).or_insert(unit);
        }
        config.create_command = std::env::args().collect();
        globals.persona.flavour.clone_into(&mut config.flavour);
        Ok(())
    }

    /// The pod that it is for, if it is for one.
    pub(super) fn pod(&self) -> Result<Option<String>, Error> {
        match (&self.pod, &self.pod_id_file) {
            (Some(pod), _) if !pod.is_empty() => Ok(Some(pod.clone())),
            (_, Some(file)) => id_in(file, false),
            _ => Ok(None),
        }
    }

    /// Whether one that has the name is to go.
    pub(super) fn is_replacing(&self) -> bool {
        self.replace
    }

    /// Removes the one that has the name, if it is to be replaced.
    pub(super) fn replace(&self, engine: &Engine) -> Result<(), Error> {
        if let (true, Some(name)) = (self.replace, &self.name) {
            match engine.remove(name, true, None) {
                Err(loment_engine::Error::NoContainer { .. }) => {}
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// Writes its id to where that was asked for; a container of which that cannot be done is removed.
    pub(super) fn write_id(&self, engine: &Engine, container: &Container) -> Result<(), Error> {
        if let Some(file) = &self.cidfile
            && let Err(source) = std::fs::write(file, &container.config.id)
        {
            let _ = engine.remove(&container.config.id, true, None);
            return Err(Error::Io {
                operation: format!("write container ID file {}", file.display()),
                source,
            });
        }
        Ok(())
    }
}

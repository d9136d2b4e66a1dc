//! `container prune`, `image prune` and `system prune`

use clap::Parser;
use loment_engine::{ContainerFilters, Pruned};

use super::pull::short_names;
use crate::error::{Doing, Error};
use crate::globals::Globals;
use crate::output::print;
use crate::units::exact_size;

/// Remove containers that do not run
#[derive(Parser, Debug)]
pub(super) struct ContainerFlags {
    /// Remove only those that this is true of: label=NAME[=VALUE], label!=NAME[=VALUE] or until=TIME
    #[arg(long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

/// Remove unused images
#[derive(Parser, Debug)]
pub(super) struct ImageFlags {
    /// Remove all images that no container uses, not only nameless ones
    #[arg(short, long)]
    all: bool,
    /// Accepted for compatibility: nothing is cached
    #[arg(long)]
    build_cache: bool,
    /// Accepted for compatibility: all containers are loment's own
    #[arg(long)]
    external: bool,
    /// Remove only those that this is true of, such as label=NAME=VALUE or until=24h
    #[arg(long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

/// Remove unused images, containers that do not run, and unused volumes if that is wanted
#[derive(Parser, Debug)]
pub(super) struct SystemFlags {
    /// Remove all images that no container uses, not only nameless ones
    #[arg(short, long)]
    all: bool,
    /// Accepted for compatibility: nothing is built
    #[arg(long)]
    build: bool,
    /// Accepted for compatibility: all containers are loment's own
    #[arg(long)]
    external: bool,
    /// Remove only those that this is true of: label=NAME[=VALUE], label!=NAME[=VALUE] or until=TIME
    #[arg(long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Remove volumes that no container has, too; as docker: anonymous ones only
    #[arg(long)]
    volumes: bool,
}

pub(super) fn run_container(globals: &Globals, flags: &ContainerFlags) -> Result<u8, Error> {
    let docker = globals.persona.docker_documents;
    let what = if docker { "stopped" } else { "non running" };
    // What cannot be meant is said before anything is asked.
    let filters = ContainerFilters::parse(&flags.filter)?;
    if !flags.force && !confirmed(&format!("WARNING! This will remove all {what} containers.\n"))? {
        return Ok(0);
    }
    let pruned = globals.engine()?.prune_containers(&filters)?;
    let ids: String = pruned.containers.iter().map(|id| format!("{id}\n")).collect();
    let text = match (docker, ids.is_empty()) {
        (false, _) => ids,
        (true, true) => reclaimed(&pruned),
        (true, false) => format!("Deleted Containers:\n{ids}\n{}", reclaimed(&pruned)),
    };
    print(&text).map(|()| 0)
}

pub(super) fn run_image(globals: &Globals, flags: &ImageFlags) -> Result<u8, Error> {
    let what = match (flags.all, globals.persona.docker_documents) {
        (true, false) => {
            "This command removes all images without at least one container associated with them."
        }
        (true, true) => "This will remove all images without at least one container associated to them.",
        (false, false) => "This command removes all dangling images.",
        (false, true) => "This will remove all dangling images.",
    };
    if !flags.force && !confirmed(&format!("WARNING! {what}\n"))? {
        return Ok(0);
    }
    let engine = globals.engine()?;
    let filters = engine.image_filters(&flags.filter, &short_names(globals)?)?;
    let pruned = engine.prune_images(flags.all, &filters)?;
    let text = if globals.persona.docker_documents {
        docker_images(&pruned) + &reclaimed(&pruned)
    } else {
        pruned.images.iter().map(|(id, _)| format!("{id}\n")).collect()
    };
    print(&text)?;
    Ok(0)
}

pub(super) fn run_system(globals: &Globals, flags: &SystemFlags) -> Result<u8, Error> {
    let docker = globals.persona.docker_documents;
    let images = if flags.all {
        "images without at least one container associated with them"
    } else {
        "dangling images"
    };
    let volumes = match (flags.volumes, docker) {
        (false, _) => "",
        (true, true) => "  - all anonymous volumes not used by at least one container\n",
        (true, false) => "\t- all volumes not used by at least one container\n",
    };
    let warning = match docker {
        true => {
            format!("WARNING! This will remove:\n  - all stopped containers\n{volumes}  - all {images}\n\n")
        }
        false => format!(
            "WARNING! This command removes:\n\t- all stopped containers\n{volumes}\t- all {images}\n\n"
        ),
    };
    if docker && flags.volumes && flags.filter.iter().any(|filter| filter.starts_with("until=")) {
        return Err(Error::Invalid("the \"until\" filter is not supported with \"--volumes\"".into()));
    }
    // As with Podman, what is only about others' containers is not asked about.
    if !flags.force && !flags.external && !confirmed(&warning)? {
        return Ok(0);
    }
    let engine = globals.engine()?;
    let images = engine.image_filters(&flags.filter, &short_names(globals)?)?;
    let containers = ContainerFilters::parse(&flags.filter)?;
    let of_volumes = engine.volume_filters(if flags.volumes { &flags.filter } else { &[] })?;
    // Filters are about what pods have not.
    let of_pods = !flags.external && !docker && flags.filter.is_empty();
    let pods = if of_pods { engine.prune_pods()?.0 } else { Vec::new() };
    let first = if flags.external { Pruned::default() } else { engine.prune_containers(&containers)? };
    let mut pruned = if flags.external { first } else { first.and(engine.prune_images(flags.all, &images)?) };
    if flags.volumes && !flags.external {
        pruned = pruned.and(engine.prune_volumes(!docker, &of_volumes)?);
    }
    let list = |head: &str, ids: &[String]| match ids.is_empty() {
        true => String::new(),
        false => format!("{head}\n{}\n", ids.join("\n")),
    };
    let text = if docker {
        list("Deleted Containers:", &pruned.containers)
            + if pruned.containers.is_empty() { "" } else { "\n" }
            + &super::volume::pruned_list(&pruned)
            + &docker_images(&pruned)
    } else {
        let ids: Vec<String> = pruned.images.iter().map(|(id, _)| id.clone()).collect();
        list("Deleted Containers", &pruned.containers)
            + &list("Deleted Pods", &pods)
            + &list("Deleted Images", &ids)
            + &list("Deleted Volumes", &pruned.volumes)
    };
    print(&if flags.external { text } else { text + &reclaimed(&pruned) })?;
    Ok(0)
}

pub(super) fn reclaimed(pruned: &Pruned) -> String {
    format!("Total reclaimed space: {}\n", exact_size(pruned.reclaimed))
}

/// As Docker lists them, with the names they had.
fn docker_images(pruned: &Pruned) -> String {
    let mut text = String::new();
    for (id, names) in &pruned.images {
        for name in names {
            let shown = name.parse().map_or_else(|_| name.clone(), |r: loment_image::Reference| r.familiar());
            text += &format!("untagged: {shown}\n");
        }
        text += &format!("deleted: sha256:{id}\n");
    }
    if text.is_empty() { text } else { format!("Deleted Images:\n{text}\n") }
}

/// Asks; no answer at all is an error.
pub(super) fn confirmed(warning: &str) -> Result<bool, Error> {
    print(&format!("{warning}Are you sure you want to continue? [y/N] "))?;
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer).doing(|| "read the answer".into())?;
    if read == 0 {
        return Err(Error::Invalid(
            "there is no answer on standard input: use --force to remove without being asked".into(),
        ));
    }
    Ok(answer.trim_start().starts_with(['y', 'Y']))
}

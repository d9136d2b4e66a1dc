//! `pod logs`, `pod top` and `pod stats`: what the commands of the same name show of containers.

use clap::Parser;
use loment_engine::{Engine, Which};

use super::choose::one;
use crate::commands::{logs, stats, top};
use crate::error::Error;
use crate::globals::Globals;

/// Fetch the logs of a pod's containers
#[derive(Parser, Debug)]
pub(super) struct LogsFlags {
    /// Show that of this one only
    #[arg(short, long, value_name = "CONTAINER")]
    container: Option<String>,
    #[command(flatten)]
    logs: logs::How,
    /// The pod that was made last
    #[arg(short, long)]
    latest: bool,
    /// The pod
    #[arg(value_name = "POD")]
    pod: Option<String>,
}

pub(super) fn logs(globals: &Globals, flags: &LogsFlags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let name = one(&engine, flags.latest, flags.pod.as_deref())?;
    let pod = engine.listed_pod(&name)?;
    let ids: Vec<String> = match &flags.container {
        Some(wanted) => {
            let found = pod.containers.iter().find(|c| c.name == *wanted || c.id == *wanted);
            let none =
                || Error::Invalid(format!("container {wanted} is not in pod {name}: no such container"));
            vec![found.ok_or_else(none)?.id.clone()]
        }
        // What runs nothing writes nothing.
        None => pod.members().map(|c| c.id.clone()).collect(),
    };
    logs::show(globals, &engine, &flags.logs, &ids)
}

/// Show the processes of a pod
///
/// Columns are those of top.
#[derive(Parser, Debug)]
pub(super) struct TopFlags {
    /// The pod that was made last
    #[arg(short, long)]
    latest: bool,
    /// Pod, unless a flag says which, then columns, each by itself or several with commas
    #[arg(value_name = "POD [COLUMN...]", num_args = 0.., trailing_var_arg = true)]
    words: Vec<String>,
}

pub(super) fn top(globals: &Globals, flags: &TopFlags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let (name, words) = match (flags.latest, flags.words.split_first()) {
        (true, _) => (super::choose::latest(&engine)?, flags.words.as_slice()),
        (false, Some((name, words))) => (name.clone(), words),
        (false, None) => {
            return Err(Error::Invalid("you must provide the name or id of a running pod".into()));
        }
    };
    let pod = engine.listed_pod(&name)?;
    let running = pod.containers.iter().filter(|c| c.status.has_process() && !c.state.is_held());
    let ids: Vec<String> = running.map(|c| c.id.clone()).collect();
    if ids.is_empty() {
        return Err(Error::Invalid(format!(
            "pod {name} has no running processes: pod top can only be used on pods with at least one running container"
        )));
    }
    top::of_several(globals, &engine, &ids, words)
}

/// Show what the containers of pods use, again and again
#[derive(Parser, Debug)]
pub(super) struct StatsFlags {
    #[command(flatten)]
    stats: stats::How,
    /// Those of all pods that run
    #[arg(short, long)]
    all: bool,
    /// The pod that was made last
    #[arg(short, long)]
    latest: bool,
    /// Pods; every running one by default
    #[arg(value_name = "POD")]
    pods: Vec<String>,
}

pub(super) fn stats(globals: &Globals, flags: &StatsFlags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    if [flags.all, flags.latest, !flags.pods.is_empty()].into_iter().filter(|way| *way).count() > 1 {
        return Err(Error::Invalid("--all, --latest and pods cannot be used together".into()));
    }
    let wanted: Option<Vec<String>> = match (flags.latest, flags.pods.as_slice()) {
        (true, _) => Some(vec![super::choose::latest(&engine)?]),
        (false, []) => None,
        (false, names) => {
            Some(names.iter().map(|name| Ok(engine.pod(name)?.id)).collect::<Result<_, Error>>()?)
        }
    };
    stats::report_on(globals, &engine, &flags.stats, |engine: &Engine| {
        let running = engine.list(Which::Active)?.into_iter();
        let meant = |pod: &String| wanted.as_ref().map_or(!pod.is_empty(), |ids| ids.contains(pod));
        Ok(running.filter(|c| meant(&c.pod) && !c.state.is_held()).map(|c| c.id).collect())
    })
}

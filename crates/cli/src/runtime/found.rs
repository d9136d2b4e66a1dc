//! Containers that exist.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use anyhow::bail;
use loment_runtime::state::{Id, Record, Status};
use loment_runtime::{Bundle, Description};
use regex::Regex;
use serde_json::{Value, json};

use super::globals::Runtime;
use super::place::Place;
use crate::error::one_line_in_c;

/// A container as it is now.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) record: Record,
    pub(crate) dir: PathBuf,
    pub(crate) status: Status,
}

impl Runtime<'_> {
    pub(crate) fn find(&self, id: &Id) -> Result<Found, loment_runtime::Error> {
        let record = self.states.load(id)?;
        let dir = self.states.dir(id);
        let status = record.status(&dir)?;
        Ok(Found { record, dir, status })
    }

    /// Does something with every container whose id the pattern, the only word, matches; goes on past failures.
    pub(crate) fn each_matching(
        &self,
        words: &[&str],
        act: impl Fn(&Id) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let [pattern] = words else { bail!("one regular expression is needed") };
        let pattern = match Regex::new(pattern) {
            Ok(parsed) => parsed,
            // It draws a picture first; the reason is its last line.
            Err(e) => {
                let text = e.to_string();
                let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
                bail!("parse regular expression {pattern:?}: {reason}")
            }
        };
        let mut failed = Vec::new();
        for id in self.states.list()?.iter().filter(|id| pattern.is_match(id.as_str())) {
            if let Err(e) = act(id) {
                failed.push(one_line_in_c(e.as_ref()));
            }
        }
        if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("; ")) }
    }
}

impl Found {
    pub(crate) fn id(&self) -> &str {
        self.record.id.as_str()
    }

    /// Its control group.
    pub(crate) fn place(&self) -> anyhow::Result<Option<Place>> {
        Place::recorded(self.record.cgroup.as_deref(), self.record.unit.as_deref())
    }

    /// Its control group, for what cannot be done without one.
    pub(crate) fn needed_place(&self) -> anyhow::Result<Place> {
        match self.place()? {
            Some(place) => Ok(place),
            None => bail!("container {:?} has no cgroup of its own", self.id()),
        }
    }

    /// Its first process.
    pub(crate) fn process(&self) -> anyhow::Result<OwnedFd> {
        match self.record.open_process() {
            Some(pidfd) => Ok(pidfd),
            // containerd looks for these words.
            None => bail!("container {:?} has ended: container not running", self.id()),
        }
    }

    /// Refuses a container whose processes are not there.
    pub(crate) fn must_live(&self) -> anyhow::Result<()> {
        if self.status == Status::Stopped {
            bail!("container {:?} is stopped: container not running", self.id());
        }
        Ok(())
    }

    /// The number of its first process, 0 when it has ended.
    pub(crate) fn pid(&self) -> i32 {
        if self.status == Status::Stopped { 0 } else { self.record.pid }
    }

    /// What hooks and agents are told of it; `bundle` is its configuration.
    pub(crate) fn description<'a>(&'a self, bundle: &'a Bundle) -> Description<'a> {
        Description::new(self.id(), &bundle.path, bundle.spec.annotations().as_ref())
    }

    /// Its state as runc shows it.
    pub(crate) fn document(&self) -> Value {
        let r = &self.record;
        let mut document = json!({
            "ociVersion": "1.3.0",
            "id": r.id,
            "pid": self.pid(),
            "status": self.status.to_string(),
            "bundle": r.bundle,
            "rootfs": r.rootfs,
            "created": r.created,
            "owner": self.owner(),
        });
        if !r.annotations.is_empty() {
            document["annotations"] = json!(r.annotations);
        }
        document
    }

    /// Who made it. Only root has a name that is the same everywhere.
    pub(crate) fn owner(&self) -> String {
        match self.record.owner {
            0 => "root".to_owned(),
            uid => format!("#{uid}"),
        }
    }
}

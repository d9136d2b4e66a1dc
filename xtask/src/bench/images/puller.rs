//! Those who pull, each with a directory of its own that is empty before and after.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail};

use super::super::Bench;
use super::cost::{Cost, once};
use crate::run::{unmount_below, which};

/// The forms that our store keeps layers in.
pub(super) const FORMS: [&str; 2] = ["erofs", "dir"];

/// One who pulls.
pub(super) struct Puller {
    pub(super) name: String,
    dir: PathBuf,
    pull: Vec<String>,
    /// Removes the image by its name; skopeo cannot.
    remove: Option<Vec<String>>,
    /// Removes what no container uses.
    prune: Option<Vec<String>>,
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|w| (*w).to_owned()).collect()
}

impl Puller {
    /// Ours, with layers in that form.
    pub(super) fn ours(bench: &Bench, form: &str, name: &str) -> anyhow::Result<Self> {
        let dir = bench.path(&format!("loment-{form}-store"));
        let place = |below: &str| dir.join(below).display().to_string();
        let loment = bench.named("loment")?.display().to_string();
        let option = format!("loment.form={form}");
        let head = [&loment, "--root", &place("root"), "--runroot", &place("run"), "--storage-opt", &option];
        let ours = |rest: &[&str]| [words(&head), words(rest)].concat();
        Ok(Self {
            name: format!("loment, {form}"),
            pull: ours(&["pull", "--quiet", name]),
            remove: Some(ours(&["rmi", name])),
            prune: Some(ours(&["image", "prune", "--all", "--force"])),
            dir,
        })
    }

    /// Ours in both forms.
    pub(super) fn both(bench: &Bench, name: &str) -> anyhow::Result<Vec<Self>> {
        FORMS.iter().map(|form| Self::ours(bench, form, name)).collect()
    }

    /// skopeo and Podman, where they are installed.
    pub(super) fn peers(bench: &Bench, name: &str) -> Vec<Self> {
        let dir = |name: &str| bench.path(&format!("{name}-store"));
        let place = |name: &str, below: &str| dir(name).join(below).display().to_string();
        let mut all = Vec::new();
        if which("skopeo").is_some() {
            let (root, run) = (place("skopeo", "root"), place("skopeo", "run"));
            let (from, store) =
                (format!("docker://{name}"), format!("containers-storage:[overlay@{root}+{run}]{name}"));
            let pull =
                ["skopeo", "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", &from, &store];
            let (pull, name) = (words(&pull), "skopeo".to_owned());
            all.push(Self { name, dir: dir("skopeo"), pull, remove: None, prune: None });
        }
        if which("podman").is_some() {
            let (root, run) = (place("podman", "root"), place("podman", "run"));
            let places = ["podman", "--root", &root, "--runroot", &run];
            let ways = ["--storage-driver", "overlay", "--events-backend", "file"];
            let theirs = |rest: &[&str]| [words(&places), words(&ways), words(rest)].concat();
            all.push(Self {
                name: "podman".to_owned(),
                dir: dir("podman"),
                pull: theirs(&["pull", "--quiet", "--tls-verify=false", name]),
                remove: Some(theirs(&["rmi", name])),
                prune: Some(theirs(&["image", "prune", "--all", "--force"])),
            });
        }
        all
    }

    /// Pulls into an empty store, through `wrapper` if there is one.
    pub(super) fn pull(&self, wrapper: &[&str]) -> anyhow::Result<Cost> {
        fs::create_dir_all(&self.dir).context("make a directory")?;
        // What somebody else left to be written is not this one's.
        rustix::fs::sync();
        once(&[words(wrapper), self.pull.clone()].concat())
    }

    /// Removes what was pulled; `None` for who cannot.
    pub(super) fn remove(&self) -> anyhow::Result<Option<Cost>> {
        self.remove.as_deref().map(once).transpose()
    }

    /// Removes everything that is not used; `None` for who cannot.
    pub(super) fn prune(&self) -> anyhow::Result<Option<Cost>> {
        self.prune.as_deref().map(once).transpose()
    }

    /// Leaves nothing. Podman leaves its storage mounted below its root.
    pub(super) fn clear(&self) -> anyhow::Result<()> {
        unmount_below(&self.dir)?;
        // A process that nobody waits for may be deleting there.
        for _ in 0..100 {
            if fs::remove_dir_all(&self.dir).is_ok() || !self.dir.exists() {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        bail!("{} cannot be removed", self.dir.display())
    }
}

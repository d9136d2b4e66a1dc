//! Commands killed before every single change they make to the store. Whenever that is: nothing that is named is damaged, the
//! command succeeds the next time, and what it left half made goes.

mod flushes;
mod life;
mod life_of_pods;
mod owners;
mod secrets;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use loment_testkit::{
    Compression, Config, Entry, Faults, Image, Layer, Layout, Output, Patience, RawLayer, Registry, Stopped,
    Variant, World, run,
};

use crate::slow::noise;
use crate::world;

/// A store that can be put back to what it was. In memory, where flushing costs nothing: what a kill leaves is the same.
struct Scene {
    world: World,
    registry: Registry,
    dir: tempfile::TempDir,
    form: String,
}

/// The last one is a bystander.
const NAMES: [&str; 3] = ["small:one", "small:two", "bystander:1"];

/// Two images with a common layer, of which each file is changed, linked or removed by the next; and one that has that layer, too.
fn images() -> [Image; 3] {
    let base: RawLayer =
        Layer::of([Entry::dir("d"), Entry::file("d/a", vec![7; 5000]), Entry::symlink("l", "d/a")]).into();
    let one = Layer::of([Entry::file("d/a", "new"), Entry::hardlink("h", "d/a"), Entry::whiteout("l")]);
    let two = Layer::of([Entry::file("b", "b")]);
    let three = Layer::of([Entry::file("c", "c")]);
    [one, two, three].map(|top| Image::new(Config::shell(), [base.clone(), top.into()]))
}

/// What images and lists there are.
#[derive(Debug, PartialEq)]
struct There {
    names: BTreeMap<String, String>,
    ids: BTreeSet<String>,
}

impl There {
    /// What a command that makes this of what there was `before` may have made when it is killed: of each name the old or the new, and
    /// nothing that is in both may be gone.
    #[track_caller]
    fn may_be_killed_at(&self, before: &Self, now: &Self, when: &str) {
        for name in [before, self, now].into_iter().flat_map(|there| there.names.keys()) {
            let found = now.names.get(name);
            let may = [before.names.get(name), self.names.get(name)];
            assert!(may.contains(&found), "{when}: {name} is {found:?}, not one of {may:?}");
        }
        let lost: Vec<_> = before.ids.intersection(&self.ids).filter(|&id| !now.ids.contains(id)).collect();
        assert!(lost.is_empty(), "{when}: {lost:?} are lost");
        let is_known = |id: &&String| before.ids.contains(*id) || self.ids.contains(*id);
        let more: Vec<_> = now.ids.iter().filter(|id| !is_known(id)).collect();
        assert!(more.is_empty(), "{when}: {more:?} are there");
    }
}

impl Scene {
    fn new(form: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("loment-test-").tempdir_in("/dev/shm").unwrap();
        let scene =
            Self { world: world(), registry: Registry::empty(), dir, form: format!("loment.form={form}") };
        let mut layout = Layout::create(&scene.world.path("layout"));
        for (image, name) in images().iter().zip(NAMES) {
            layout.add(name, image, Compression::Gzip);
            layout.push(name, &scene.registry.name(name), Variant::AsIs);
        }
        scene.loment(&["images"]).succeeds();
        scene
    }

    /// The same with an image that no command is about.
    fn with_bystander(form: &str) -> Self {
        let scene = Self::new(form);
        scene.loment(&["pull", "--quiet", &scene.name(2)]).succeeds();
        scene
    }

    /// What there is; an id that was not there `before` is a new one, since some have the time in them.
    #[track_caller]
    fn there(&self, before: Option<&There>) -> There {
        let format = "{{.Repository}}:{{.Tag}} {{.ID}}";
        let shown = self.loment(&["images", "--all", "--no-trunc", "--format", format]);
        let rows = shown.succeeds().lines().map(|row| row.split_once(' ').expect("two words"));
        let rows: Vec<_> = rows
            .map(|(name, id)| match before {
                Some(before) if !before.ids.contains(id) => (name, "new"),
                _ => (name, id),
            })
            .collect();
        let named = rows.iter().filter(|(name, _)| *name != "<none>:<none>");
        There {
            names: named.map(|&(name, id)| (name.to_owned(), id.to_owned())).collect(),
            ids: rows.iter().map(|&(_, id)| id.to_owned()).collect(),
        }
    }

    fn name(&self, index: usize) -> String {
        self.registry.name(NAMES[index])
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.bare();
        command.arg("--root").arg(self.root()).arg("--runroot").arg(self.dir.path().join("run"));
        command.args(["--storage-opt", &self.form]).args(arguments);
        command
    }

    #[track_caller]
    fn loment(&self, arguments: &[&str]) -> Output {
        run(&mut self.command(arguments), Patience::NORMAL)
    }

    fn copy(from: &Path, to: &Path) {
        let _ = fs::remove_dir_all(to);
        let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
        assert!(done.success());
    }

    /// Runs a command again and again, each time from how things are now, and kills it one change later than before, until it comes
    /// to its end. `again` are the exit statuses with which it may end the next time. Whenever it is killed, each name means what it
    /// did before or what it does after, and what is in both is there.
    fn kill_everywhere(&self, arguments: &[&str], again: &[i32]) {
        self.kill_everywhere_and(arguments, again, &|_| ());
    }

    /// The same; `holds` looks at what there is after each kill, and after the command has come to its end.
    fn kill_everywhere_and(&self, arguments: &[&str], again: &[i32], holds: &dyn Fn(&str)) {
        let kept = self.dir.path().join("kept");
        // Before anybody looks, which may make a store.
        Self::copy(&self.root(), &kept);
        let before = self.there(None);
        self.loment(arguments).succeeds();
        let after = self.there(Some(&before));
        Self::copy(&kept, &self.root());
        self.at_every_change(5000, arguments, &|stopped, when| {
            after.may_be_killed_at(&before, &self.there(Some(&before)), when);
            let check = self.loment(&["system", "check", "--max", "0"]);
            assert_eq!(check.code, 0, "{when}: {check}");
            holds(when);
            let output = self.loment(arguments);
            let is_done = if stopped.before.is_some() { output.code == 0 } else { stopped.code == Some(0) };
            assert!(is_done || again.contains(&output.code), "{when}: {output}");
            let now = self.there(Some(&before));
            match output.code {
                0 => assert_eq!(now, after, "{when}"),
                // What it was to remove may have lost its name only.
                _ => after.may_be_killed_at(&before, &now, when),
            }
            let check = self.loment(&["system", "check", "--quick"]);
            assert_eq!(check.code, 0, "{when}: {check}");
            holds(when);
            self.loment(&["rmi", "--all", "--force"]).succeeds();
            self.loment(&["image", "prune", "--force"]).succeeds();
            assert_eq!(self.left(), Vec::<PathBuf>::new(), "{when}");
        });
    }

    /// Kills a command before each of its changes, fewer than `most`, each time from how things are now, and does something after
    /// each kill and after it has come to its end. In the end things are as they were.
    fn at_every_change(&self, most: u64, arguments: &[&str], after: &dyn Fn(&Stopped, &str)) {
        let before = self.dir.path().join("before");
        Self::copy(&self.root(), &before);
        let faults = Faults::below([self.root()]);
        for nth in 1.. {
            assert!(nth < most, "it never comes to its end");
            Self::copy(&before, &self.root());
            let stopped = faults.kill_before(nth, &mut self.command(arguments));
            let when = format!("{arguments:?} killed before change {nth}: {stopped:?}");
            after(&stopped, &when);
            if stopped.before.is_none() {
                assert!(nth > 2, "{when}: too few changes to be all");
                break;
            }
        }
        Self::copy(&before, &self.root());
    }

    /// What is left when no image is.
    fn left(&self) -> Vec<PathBuf> {
        left_in(&self.root())
    }
}

/// What is left in a store without images.
pub(crate) fn left_in(root: &Path) -> Vec<PathBuf> {
    let mut left = Vec::new();
    for attempt in 0.. {
        left.clear();
        for dir in
            ["layers", "by-blob", "images", "refs", "leases", "staging", "tombs", "containers", "partial"]
        {
            let entries = fs::read_dir(root.join(dir)).into_iter().flatten();
            left.extend(entries.map(|entry| entry.unwrap().path()));
        }
        for shard in fs::read_dir(root.join("blobs/sha256")).into_iter().flatten() {
            left.extend(fs::read_dir(shard.unwrap().path()).unwrap().map(|entry| entry.unwrap().path()));
        }
        // Tombs are emptied by somebody else, who waits for everybody on a busy machine.
        if left.is_empty() || attempt > 12_000 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    left
}

fn pull(form: &str) {
    let scene = Scene::with_bystander(form);
    scene.kill_everywhere(&["pull", "--quiet", &scene.name(0)], &[]);
}

#[test]
fn a_pull_into_directories_killed_before_every_change() {
    pull("dir");
}

#[test]
fn a_pull_into_images_killed_before_every_change() {
    pull("erofs");
}

/// One of which a beginning is kept: what that says when it is cut off anywhere, the next pull does not believe.
#[test]
fn a_pull_of_a_large_layer_killed_before_every_change() {
    let scene = Scene::with_bystander("dir");
    let mut layout = Layout::create(&scene.world.path("large"));
    let layer = Layer::of([Entry::file("noise", noise(17 << 19))]);
    layout.add("large", &Image::new(Config::shell(), [layer.into()]), Compression::None);
    let name = scene.registry.name("large:1");
    layout.push("large", &name, Variant::AsIs);
    scene.kill_everywhere(&["pull", "--quiet", &name], &[]);
}

/// Images that come from files.
fn load_and_import(form: &str) {
    let scene = Scene::new(form);
    let [archive, tar] =
        ["archive.tar", "layer.tar"].map(|name| scene.world.path(name).display().to_string());
    scene.loment(&["pull", "--quiet", &scene.name(0)]).succeeds();
    scene.loment(&["save", "--output", &archive, &scene.name(0)]).succeeds();
    scene.loment(&["rmi", "--all"]).succeeds();
    scene.loment(&["pull", "--quiet", &scene.name(2)]).succeeds();
    scene.kill_everywhere(&["load", "--input", &archive], &[]);
    scene.world.write("layer.tar", Layer::of([Entry::file("a", "a")]).into_bytes());
    scene.kill_everywhere(&["import", "--quiet", &tar, "imported:1"], &[]);
}

#[test]
fn load_and_import_killed_before_every_change() {
    load_and_import("erofs");
}

#[test]
fn load_and_import_into_directories_killed_before_every_change() {
    load_and_import("dir");
}

/// A store made for the first time belongs to it.
#[test]
fn a_pull_into_no_store_killed_before_every_change() {
    let scene = Scene::new("erofs");
    fs::remove_dir_all(scene.root()).unwrap();
    fs::create_dir(scene.root()).unwrap();
    scene.kill_everywhere(&["pull", "--quiet", &scene.name(0)], &[]);
}

fn names(form: &str) {
    let scene = Scene::with_bystander(form);
    let (one, two) = (scene.name(0), scene.name(1));
    for name in [&one, &two] {
        scene.loment(&["pull", "--quiet", name]).succeeds();
    }
    scene.kill_everywhere(&["tag", &one, "new:1"], &[]);
    // The name of one image becomes that of another.
    scene.kill_everywhere(&["tag", &one, &two], &[]);
    // The second time there is nothing to take away or remove.
    scene.kill_everywhere(&["rmi", &one], &[1]);
    scene.loment(&["tag", &one, "new:1"]).succeeds();
    scene.kill_everywhere(&["untag", &one, &one], &[125]);
    scene.kill_everywhere(&["rmi", &one], &[1]);
    scene.kill_everywhere(&["rmi", "--all"], &[]);
    scene.loment(&["untag", &two]).succeeds();
    scene.kill_everywhere(&["image", "prune", "--force"], &[]);
    // A container keeps its image, whatever becomes of the others.
    scene.loment(&["create", "--network", "none", &scene.name(2), "true"]).succeeds();
    scene.kill_everywhere(&["image", "prune", "--all", "--force"], &[]);
}

#[test]
fn names_and_removal_in_directories_killed_before_every_change() {
    names("dir");
}

#[test]
fn names_and_removal_of_images_killed_before_every_change() {
    names("erofs");
}

fn lists(form: &str) {
    let scene = Scene::with_bystander(form);
    for name in [scene.name(0), scene.name(1)] {
        scene.loment(&["pull", "--quiet", &name]).succeeds();
    }
    // The second time the list is there.
    scene.kill_everywhere(&["manifest", "create", "list:1", &scene.name(0)], &[125]);
    scene.loment(&["manifest", "create", "list:1", &scene.name(0)]).succeeds();
    scene.kill_everywhere(&["manifest", "add", "list:1", &scene.name(1)], &[]);
    scene.loment(&["manifest", "add", "list:1", &scene.name(1)]).succeeds();
    // Its images are kept by nothing else.
    scene.loment(&["rmi", &scene.name(0)]).succeeds();
    scene.kill_everywhere(&["manifest", "rm", "list:1"], &[1]);
}

/// Lists whose name is given to an image, or taken away, and which stay then.
#[test]
fn lists_that_lose_their_name_killed_before_every_change() {
    let scene = Scene::with_bystander("erofs");
    scene.loment(&["pull", "--quiet", &scene.name(0)]).succeeds();
    scene.loment(&["manifest", "create", "list:1", &scene.name(0)]).succeeds();
    scene.loment(&["pull", "--quiet", &scene.name(1)]).succeeds();
    let rows = || {
        let shown = scene.loment(&["images", "--no-trunc", "--format", "{{.Repository}} {{.ID}}"]);
        shown.succeeds().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let all = rows();
    let list = all.iter().find(|row| row.contains("/list ")).and_then(|row| row.split(' ').nth(1)).unwrap();
    let kept = |when: &str| assert!(rows().iter().any(|row| row.ends_with(list)), "{when}: the list is lost");
    scene.kill_everywhere_and(&["tag", &scene.name(1), "list:1"], &[], &kept);
    // The second time it has none.
    scene.kill_everywhere_and(&["untag", "list:1"], &[125], &kept);
    // It came under that name before, and another takes it.
    let pushed = scene.registry.name("list:1");
    scene.loment(&["manifest", "push", "--quiet", "list:1", &pushed]).succeeds();
    scene.loment(&["tag", "list:1", &pushed]).succeeds();
    scene.kill_everywhere_and(&["pull", "--quiet", &pushed], &[], &kept);
}

#[test]
fn lists_in_directories_killed_before_every_change() {
    lists("dir");
}

#[test]
fn lists_of_images_killed_before_every_change() {
    lists("erofs");
}

fn system_prune(form: &str) {
    let scene = Scene::with_bystander(form);
    for name in [scene.name(0), scene.name(1)] {
        scene.loment(&["pull", "--quiet", &name]).succeeds();
    }
    scene.loment(&["create", "--network", "none", &scene.name(0), "true"]).succeeds();
    scene.loment(&["untag", &scene.name(1)]).succeeds();
    scene.kill_everywhere(&["system", "prune", "--force"], &[]);
    scene.kill_everywhere(&["system", "prune", "--all", "--force"], &[]);
}

#[test]
fn system_prune_over_directories_killed_before_every_change() {
    system_prune("dir");
}

#[test]
fn system_prune_over_images_killed_before_every_change() {
    system_prune("erofs");
}

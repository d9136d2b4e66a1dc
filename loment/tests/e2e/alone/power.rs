//! Power cuts: after each, what a command had reported as done is there and undamaged, whatever of the rest the disk kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use loment_testkit::{
    Compression, Config, Cut, Disk, Entry, Image, Layer, Layout, Output, Patience, RawLayer, Recording,
    Registry, Variant, World, run, skip,
};

use super::in_namespace;
use crate::kills::left_in;
use crate::{eventually, world};

fn cut(test: &str) {
    if Path::new("/dev/fuse").exists() {
        in_namespace(test);
    } else {
        skip("what power cuts leave", "this kernel has no FUSE");
    }
}

/// A file system in a file, small and with everything on it that mkfs would leave for later.
fn file_system(dir: &Path) -> Vec<u8> {
    let path = dir.join("new");
    fs::File::create(&path).unwrap().set_len(24 << 20).unwrap();
    let mut mkfs = Command::new("mkfs.ext4");
    mkfs.args(["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"]).arg(&path);
    run(&mut mkfs, Patience::NORMAL).succeeds();
    fs::read(&path).unwrap()
}

/// A mounted file system, which is unmounted with this.
struct Mounted(PathBuf);

impl Mounted {
    #[track_caller]
    fn new(file: &Path, at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        // With `loop` the device goes when it is unmounted, and so with the namespace.
        run(Command::new("mount").args(["-o", "loop"]).args([file, at]), Patience::NORMAL).succeeds();
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What a command left behind to delete may still be at it.
        let unmount = || run(Command::new("umount").arg(&self.0), Patience::NORMAL).code == 0;
        if !std::thread::panicking() {
            eventually("it is unmounted", unmount);
        }
    }
}

/// A machine whose disk is cut off.
struct Scene {
    world: World,
    registry: Registry,
    memory: tempfile::TempDir,
}

const NAMES: [&str; 2] = ["small:one", "small:two"];

impl Scene {
    fn new() -> Self {
        let memory = tempfile::Builder::new().prefix("loment-test-").tempdir_in("/dev/shm").unwrap();
        let scene = Self { world: world(), registry: Registry::empty(), memory };
        let base: RawLayer = Layer::of([Entry::dir("d"), Entry::file("d/a", vec![7; 9000])]).into();
        let mut layout = Layout::create(&scene.world.path("layout"));
        for (index, name) in NAMES.iter().enumerate() {
            let top = Layer::of([Entry::file("d/a", vec![index as u8; 20_000]), Entry::symlink("l", "d/a")]);
            layout.add(name, &Image::new(Config::shell(), [base.clone(), top.into()]), Compression::Gzip);
            layout.push(name, &scene.name(index), Variant::AsIs);
        }
        scene
    }

    fn name(&self, index: usize) -> String {
        self.registry.name(NAMES[index])
    }

    /// An archive with the first image.
    fn archive(&self) -> String {
        let archive = self.world.path("archive.tar").display().to_string();
        self.world.loment(["pull", "--quiet", &self.name(0)]).succeeds();
        self.world.loment(["save", "--quiet", "--output", &archive, &self.name(0)]).succeeds();
        self.world.loment(["rmi", "--all"]).succeeds();
        archive
    }

    fn path(&self, name: &str) -> PathBuf {
        self.memory.path().join(name)
    }

    /// A command on the store in the mounted file system, since a boot called `boot`.
    #[track_caller]
    fn loment(&self, boot: &str, arguments: &[&str]) -> Output {
        let mut command = self.world.bare();
        command.arg("--root").arg(self.path("disk/root")).arg("--runroot").arg(self.path(boot));
        run(command.args(arguments), Patience::NORMAL)
    }

    /// The names of all images.
    #[track_caller]
    fn names(&self, boot: &str) -> Vec<String> {
        let output = self.loment(boot, &["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        let mut names: Vec<_> = output.succeeds().lines().map(str::to_owned).collect();
        names.sort_unstable();
        names.retain(|name| name != "<none>:<none>");
        names
    }

    /// Uses a disk: `work` is called with what marks something as done.
    fn record(&self, work: impl FnOnce(&dyn Fn())) -> Recording {
        let first = file_system(self.memory.path());
        let disk = Disk::serve(first.clone(), &self.path("served")).unwrap();
        let mounted = Mounted::new(&self.path("served"), &self.path("disk"));
        work(&|| disk.mark());
        drop(mounted);
        disk.finish(first)
    }

    /// The machine after a cut: its file system has been mounted again, with nothing else done to it.
    fn after(&self, cut: &Cut, look: impl FnOnce()) {
        let image = self.path("cut");
        fs::write(&image, &cut.content).unwrap();
        let mounted = Mounted::new(&image, &self.path("disk"));
        look();
        drop(mounted);
        let _ = fs::remove_dir_all(self.path("after"));
    }
}

#[test]
fn what_was_reported_survives_power_cuts() {
    cut("alone::power::helper_cuts_power");
}

#[test]
#[ignore = "run by what_was_reported_survives_power_cuts"]
fn helper_cuts_power() {
    let scene = Scene::new();
    let (one, two) = (scene.name(0), scene.name(1));
    let tagged = "localhost/new:1".to_owned();
    let (archive, imported) = (scene.archive(), "localhost/imported:1".to_owned());
    let tar = scene.world.write("layer.tar", Layer::of([Entry::file("a", "a")]).into_bytes());
    let forms = [["--storage-opt", "loment.form=dir"], ["--storage-opt", "loment.form=erofs"]];
    // Each command, and the names there are after it.
    let mut steps: Vec<(Vec<&str>, Vec<&String>)> = vec![(vec!["images"], vec![])];
    for form in &forms {
        let pull = |name| [form.as_slice(), &["pull", "--quiet", name]].concat();
        steps.push((pull(&one), vec![&one]));
        steps.push((vec!["tag", &one, &tagged], vec![&one, &tagged]));
        steps.push((pull(&two), vec![&one, &two, &tagged]));
        steps.push((vec!["tag", &two, &tagged], vec![&one, &two, &tagged]));
        steps.push((vec!["rmi", &one], vec![&two, &tagged]));
        steps.push((vec!["untag", &two, &tagged], vec![&two]));
        steps.push((vec!["rmi", &two], vec![]));
        let load = ["load", "--quiet", "--input", &archive];
        steps.push(([form.as_slice(), &load].concat(), vec![&one]));
        let import = ["import", "--quiet", &tar, &imported];
        steps.push(([form.as_slice(), &import].concat(), vec![&one, &imported]));
        steps.push((vec!["image", "prune", "--all", "--force"], vec![]));
    }
    let expected: Vec<Vec<String>> = steps
        .iter()
        .map(|(_, names)| {
            let mut names: Vec<_> = names.iter().map(|name| (*name).clone()).collect();
            names.sort_unstable();
            names
        })
        .collect();
    let recording = scene.record(|done| {
        for (step, (command, _)) in steps.iter().enumerate() {
            scene.loment("before", command).succeeds();
            done();
            assert_eq!(scene.names("before"), expected[step], "{command:?}");
        }
    });
    assert!(recording.flushes() > 3 * steps.len(), "{} flushes", recording.flushes());
    let mut cuts = 0;
    recording.cuts(2, 0x10_3e37, |cut| {
        cuts += 1;
        scene.after(&cut, || {
            // Before the first one the store is being made.
            let done = cut.marks.checked_sub(1);
            let when = format!("{}, {:?} was done", cut.when, done.map(|done| &steps[done].0));
            let check = scene.loment("after", &["system", "check"]);
            assert_eq!(check.code, 0, "{when}: {check}");
            let names = scene.names("after");
            let before = done.map_or(&[][..], |done| expected[done].as_slice());
            let next = expected.get(cut.marks).map_or(before, Vec::as_slice);
            // What the command at hand had done of its work, which may be several names.
            let may = |name: &String| before.contains(name) || next.contains(name);
            let must = |name: &&String| next.contains(name);
            assert!(names.iter().all(may), "{when}: {names:?}");
            assert!(before.iter().filter(must).all(|name| names.contains(name)), "{when}: {names:?}");
            // Not after each: these four commands take as long as all else, and the whole has five minutes.
            if cuts % 4 == 0 || done.is_none() {
                scene.loment("after", &["pull", "--quiet", &one]).succeeds();
                scene.loment("after", &["rmi", "--all"]).succeeds();
                // Whatever was half made when the power went.
                assert_eq!(left_in(&scene.path("disk/root")), Vec::<PathBuf>::new(), "{when}");
                let check = scene.loment("after", &["system", "check", "--max", "0"]);
                assert_eq!(
                    (check.code, check.stdout.as_str()),
                    (0, ""),
                    "{when}, and after it was used: {check}"
                );
            }
        });
    });
    // Where nothing was waiting to be flushed there is one way only to lose it.
    assert!(2 * cuts > 3 * recording.flushes(), "{cuts} cuts of {} flushes", recording.flushes());
}

#[test]
fn a_cut_disk_has_lost_what_nobody_flushed() {
    cut("alone::power::helper_loses_a_file");
}

/// The test of the test: a file that was written and renamed, but not flushed.
#[test]
#[ignore = "run by a_cut_disk_has_lost_what_nobody_flushed"]
fn helper_loses_a_file() {
    let scene = Scene::new();
    let recording = scene.record(|done| {
        let dir = scene.path("disk");
        fs::write(dir.join("new"), "content").unwrap();
        fs::rename(dir.join("new"), dir.join("careless")).unwrap();
        fs::write(dir.join("careful"), "content").unwrap();
        fs::File::open(dir.join("careful")).unwrap().sync_all().unwrap();
        done();
    });
    let mut lost = 0;
    recording.cuts(2, 7, |cut| {
        scene.after(&cut, || {
            let read = |name: &str| fs::read_to_string(scene.path("disk").join(name)).unwrap_or_default();
            lost += usize::from(read("careless").is_empty() && cut.marks == 1);
            assert!(cut.marks == 0 || read("careful") == "content", "{}", cut.when);
        });
    });
    assert!(lost > 0, "no cut has lost anything");
}

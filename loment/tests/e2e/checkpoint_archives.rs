//! Archives of checkpoints that are damaged, or made to do harm. What those do that are neither is seen in a machine of its own
//! (`loment::vm`).

use std::fs;
use std::path::Path;
use std::process::Command;

use loment_testkit::{Faults, Output, Patience, World, run};
use serde_json::{Value, json};

use crate::{eventually, world_with};

const ID: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// An archive to be imported, in pieces.
struct Case {
    world: World,
    config: Value,
}

impl Case {
    #[track_caller]
    fn new() -> Self {
        let (world, image) = world_with("busybox:latest");
        let created =
            ["create", "--network", "none", "--name", "model", "-v", "data:/data", &image, "sleep", "9"];
        let id = world.loment(created).succeeds().to_owned();
        let record = world.root().join("containers").join(&id).join("container.json");
        let mut config: Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
        world.loment(["rm", "model"]).succeeds();
        world.loment(["volume", "rm", "data"]).succeeds();
        config["id"] = ID.into();
        config["name"] = "c".into();
        let case = Self { world, config };
        case.fresh();
        case
    }

    fn path(&self, name: &str) -> String {
        self.world.path(name).into_os_string().into_string().unwrap()
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.world.path("a").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// What is whole, but for its processes.
    fn fresh(&self) {
        let _ = fs::remove_dir_all(self.world.path("a"));
        self.write("checkpoint/inventory.img", "no process");
        self.write("checkpoint/descriptors.json", "[]");
        self.describe(|_| ());
        fs::create_dir_all(self.world.path("none")).unwrap();
        self.pack("none", &["--files-from", "/dev/null"], "volumes/data.tar");
    }

    fn describe(&self, edit: impl FnOnce(&mut Value)) {
        let mut own = json!({"version": 1, "config": self.config, "volumes": {"data": {"mode": 0o755}}});
        edit(&mut own);
        let document = json!({"id": ID, "name": "c", "runtime": "loment", "loment": own});
        self.write("config.dump", document.to_string());
    }

    /// Packs a directory as a part of the archive.
    fn pack(&self, dir: &str, words: &[&str], part: &str) {
        fs::create_dir_all(self.world.path("a").join(part).parent().unwrap()).unwrap();
        let part = self.path(&format!("a/{part}"));
        let made = Command::new("tar").args(["-P", "-C", &self.path(dir), "-cf", &part]).args(words).status();
        assert!(made.unwrap().success());
    }

    fn archive(&self) -> String {
        let archive = self.path("archive.tar");
        let words = ["-C", &self.path("a"), "-cf", &archive, "."];
        assert!(Command::new("tar").args(words).status().unwrap().success());
        archive
    }

    #[track_caller]
    fn import(&self, archive: &str, flags: &[&str]) -> Output {
        let words = [&["container", "restore", "--import", archive][..], flags].concat();
        let output = run(&mut self.world.command(words), Patience::NORMAL);
        self.is_untouched();
        output
    }

    /// Nothing half-made is left.
    #[track_caller]
    fn is_untouched(&self) {
        assert_eq!(self.world.loment(["ps", "-aq"]).succeeds(), "");
        assert_eq!(self.world.loment(["volume", "ls", "-q"]).succeeds(), "");
        let left = |dir: &str| fs::read_dir(self.world.root().join(dir)).map_or(0, Iterator::count);
        assert_eq!((left("containers"), left("names")), (0, 0));
        assert!(!Path::new("/tmp/loment-was-here").exists());
    }
}

#[test]
fn what_is_no_archive_of_ours_is_refused() {
    let case = Case::new();
    let refused = |archive: &str, why: &str| {
        case.import(archive, &[]).fails_saying(125, &[why]);
    };
    refused("/nonesuch", "/nonesuch");
    let text = case.world.write("text", "this is no tar");
    refused(&text, "it is no tar");
    let archive = case.archive();
    let bytes = fs::read(&archive).unwrap();
    for part in [600, 5000] {
        fs::write(&archive, &bytes[..part.min(bytes.len())]).unwrap();
        refused(&archive, "truncated");
    }
    fs::remove_file(case.world.path("a/config.dump")).unwrap();
    refused(&case.archive(), "it has no config.dump");
    case.write("config.dump", "{");
    refused(&case.archive(), "config.dump");
    // What Podman writes.
    case.write("config.dump", json!({"id": ID, "name": "c", "runtime": "crun"}).to_string());
    refused(&case.archive(), "made by another engine, with crun");
    case.describe(|own| own["version"] = 2.into());
    refused(&case.archive(), "it is version 2");
    case.describe(|own| own["config"]["version"] = 1000.into());
    refused(&case.archive(), "version 1000");
    case.write("config.dump", vec![b' '; 17 << 20]);
    refused(&case.archive(), "larger than anything is made");
}

#[test]
fn names_in_an_archive_lead_nowhere() {
    let case = Case::new();
    let refused = |why: &str| {
        case.import(&case.archive(), &[]).fails_saying(125, &[why]);
    };
    for (key, bad, why) in [
        ("id", "../../x", "no id of a container"),
        ("id", "", "no id of a container"),
        ("name", "../x", "names must match"),
        ("pod", ID, "cannot restore pod container without --pod"),
    ] {
        case.describe(|own| own["config"][key] = bad.into());
        refused(why);
    }
    case.describe(|own| own["config"]["files"]["volumes"][0]["volume"]["name"] = "../../../tmp/x".into());
    refused("volume name");
    case.describe(|own| own["config"]["infra"] = true.into());
    refused("none that could have been saved");
    case.describe(|own| own["config"]["requires"] = json!(["x"]));
    // Nobody is there whom it could need; and its processes are none.
    refused("criu");
    case.describe(|own| own["pre"] = true.into());
    refused("--import-previous");
    case.describe(|own| own["previous"] = true.into());
    refused("--import-previous");
    case.describe(|own| own["config"]["image"]["id"] = format!("sha256:{ID}").into());
    refused("which is not here");
    case.fresh();
    case.write("checkpoint/..evil/x", "");
    refused("no name of a file that CRIU writes");
    case.fresh();
    std::os::unix::fs::symlink("/etc/passwd", case.world.path("a/checkpoint/pages-1.img")).unwrap();
    refused("leads nowhere in the archive");
    case.fresh();
    fs::remove_dir_all(case.world.path("a/checkpoint")).unwrap();
    refused("inventory.img");
}

#[test]
fn files_in_an_archive_stay_in_the_container() {
    let case = Case::new();
    let refused = |why: &str| {
        case.import(&case.archive(), &[]).fails_saying(125, &[why]);
    };
    let dir = case.world.path("changes");
    fs::create_dir_all(dir.join("sub")).unwrap();
    fs::write(dir.join("loment-was-here"), "x").unwrap();
    let name = |to: &str| format!("--transform=s,loment-was-here,{to},");
    for part in ["rootfs-diff.tar", "volumes/data.tar"] {
        case.fresh();
        case.pack("changes", &[&name("../../../../../../tmp/loment-was-here"), "loment-was-here"], part);
        refused("it leaves the directory");
        // By a link that the archive makes first.
        case.fresh();
        let _ = fs::remove_file(dir.join("link"));
        std::os::unix::fs::symlink("/tmp", dir.join("link")).unwrap();
        case.pack("changes", &[&name("link/loment-was-here"), "link", "loment-was-here"], part);
        refused("open the directory of");
        case.fresh();
        case.write(part, "no tar at all, and longer than nothing");
        refused("");
    }
    case.fresh();
    case.write("deleted.files", json!(["/../../etc/passwd"]).to_string());
    refused("it leaves the directory");
    case.write("deleted.files", json!(["/bin/sh/below"]).to_string());
    refused("too many levels of symbolic links");
    case.write("deleted.files", "17");
    refused("deleted.files");
    // Nothing is wrong but that there are no processes.
    case.fresh();
    case.write("deleted.files", json!(["/etc/passwd", "/nonesuch"]).to_string());
    refused("criu");
    case.import(&case.archive(), &["--ignore-rootfs", "--name", "other"]).fails_saying(125, &["criu"]);
    case.import(&case.archive(), &["--tcp-established", "--name", "other"])
        .fails_saying(125, &["cannot be used with --name"]);
    case.import(&case.archive(), &["-p", "80"]).fails_saying(125, &["no network yet that has ports"]);
    case.import(&case.archive(), &["--pod", "p"])
        .fails_saying(125, &["cannot restore non pod container into pod"]);
    assert!(Path::new("/etc/passwd").exists());
}

#[test]
fn an_import_that_is_killed_leaves_a_container_or_nothing() {
    let case = Case::new();
    fs::create_dir(case.world.path("changes")).unwrap();
    case.world.write("changes/file", "changed");
    case.pack("changes", &["file"], "rootfs-diff.tar");
    case.pack("changes", &["file"], "volumes/data.tar");
    case.write("deleted.files", json!(["/etc/group"]).to_string());
    let archive = case.archive();
    let restore = ["container", "restore", "--import", &archive];
    let faults = Faults::below([case.world.root()]);
    for nth in 1.. {
        assert!(nth < 1000, "it never comes to its end");
        let stopped = faults.kill_before(nth, &mut case.world.command(restore));
        let when = format!("killed before change {nth}: {stopped:?}");
        // What it has started finds that there are no processes, and ends.
        let states = || case.world.loment(["ps", "-a", "--format", "{{.State}}"]).succeeds().to_owned();
        eventually("nothing runs", || matches!(states().as_str(), "" | "created" | "exited"));
        let volume = case.world.root().join("volumes/data/_data/file");
        if volume.parent().is_some_and(Path::exists) {
            assert_eq!(fs::read_to_string(&volume).unwrap_or_default(), "changed", "{when}");
        }
        if !states().is_empty() {
            assert!(volume.exists(), "{when}");
            let changes = case.world.loment(["diff", ID]).succeeds().to_owned();
            for change in ["D /etc/group", "A /file"] {
                assert!(changes.lines().any(|line| line == change), "{when}: {changes}");
            }
            let images = case.world.root().join("containers").join(ID).join("checkpoint");
            assert!(
                images.join("inventory.img").exists() && images.join("descriptors.json").exists(),
                "{when}"
            );
        }
        case.world.loment(["rm", "-f", "-t", "0", "--all"]).succeeds();
        case.world.loment(["volume", "prune", "-a", "-f"]).succeeds();
        for dir in ["containers", "volumes"] {
            let left = fs::read_dir(case.world.root().join(dir)).map_or(0, Iterator::count);
            assert_eq!(left, 0, "{when}: {dir}");
        }
        if stopped.before.is_none() {
            assert!(nth > 2, "{when}: too few changes to be all");
            break;
        }
    }
}

use std::process::Command;

use tempfile::TempDir;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::*;

struct Place(TempDir);

impl Place {
    /// In a thread with a working directory, root and mount namespace of its own.
    fn new() -> Self {
        assert!(loment_sys::process::is_root(), "this test needs root");
        unshare(CloneFlags::NEWNS).unwrap();
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        Self(tempfile::tempdir().unwrap())
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("pins")
    }

    /// An image with one file.
    fn image(&self, name: &str) -> PathBuf {
        let (tree, file) = (self.0.path().join("tree"), self.0.path().join(name));
        std::fs::create_dir_all(&tree).unwrap();
        std::fs::write(tree.join("name"), name).unwrap();
        let made = Command::new("mkfs.erofs").arg("--quiet").args([&file, &tree]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        file
    }
}

fn name_in(tree: &OwnedFd) -> String {
    std::fs::read_to_string(format!("/proc/self/fd/{}/name", tree.as_raw_fd())).unwrap()
}

fn mounts(dir: &Path) -> usize {
    let all = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    all.lines().filter(|line| line.contains(dir.to_str().unwrap())).count()
}

#[test]
fn every_caller_gets_its_own_clones_of_one_mount() {
    let place = Place::new();
    let (dir, a, b) = (place.dir(), place.image("a"), place.image("b"));
    let (a, b) = (Image { file: &a, layer: "a" }, Image { file: &b, layer: "b" });
    let first = clones(&dir, &[a]).unwrap();
    let both = clones(&dir, &[b, a]).unwrap();
    assert_eq!(both.iter().map(name_in).collect::<Vec<_>>(), ["b", "a"]);
    let device = |tree: &OwnedFd| rustix::fs::fstat(tree).unwrap().st_dev;
    assert_eq!(device(&first[0]), device(&both[1]));
    assert_eq!(mounts(&dir), 2);
    // Nothing of the host is in there, and the caller is where it was.
    let ns = namespace(&dir).unwrap().unwrap();
    let seen = visit(&ns, || Ok(std::fs::read_dir("/")?.count())).unwrap();
    assert_eq!(seen, 2);
    assert!(Path::new("/proc/self").exists());
    release(&dir, |layer, _| layer == "b").unwrap();
    assert_eq!(visit(&ns, || Ok(std::fs::read_dir("/")?.count())).unwrap(), 1);
    assert_eq!(name_in(&first[0]), "a", "who has it keeps it");
    release(&dir, |_, _| false).unwrap();
    assert_eq!(mounts(&dir), 0);
    assert_eq!(clones(&dir, &[a]).unwrap().iter().map(name_in).collect::<Vec<_>>(), ["a"]);
    release(&dir, |_, _| false).unwrap();
}

#[test]
fn nobody_else_can_hold_the_lock() {
    let place = Place::new();
    let (dir, file) = (place.dir(), place.image("a"));
    clones(&dir, &[Image { file: &file, layer: "a" }]).unwrap();
    let lock = std::fs::metadata(dir.with_extension("lock")).unwrap();
    assert_eq!(lock.mode() & 0o7777, 0o600);
    assert_eq!(std::fs::metadata(&dir).unwrap().mode() & 0o077, 0);
    release(&dir, |_, _| false).unwrap();
}

#[test]
fn what_killed_makers_left_is_used() {
    let place = Place::new();
    let (dir, file) = (place.dir(), place.image("a"));
    let image = Image { file: &file, layer: "a" };
    // Killed before the namespace was bound.
    std::fs::create_dir(&dir).unwrap();
    mount_bind(&dir, &dir).unwrap();
    std::fs::write(dir.join("ns"), "").unwrap();
    assert_eq!(name_in(&clones(&dir, &[image]).unwrap()[0]), "a");
    assert_eq!(mounts(&dir), 2);
    // Killed before a layer was attached.
    let other = place.image("b");
    let name = format!("b.{}", std::fs::metadata(&other).unwrap().ino());
    let ns = namespace(&dir).unwrap().unwrap();
    visit(&ns, || std::fs::create_dir(Path::new("/").join(&name))).unwrap();
    let image = Image { file: &other, layer: "b" };
    assert_eq!(name_in(&clones(&dir, &[image]).unwrap()[0]), "b");
    visit(&ns, || std::fs::create_dir("/c.1")).unwrap();
    release(&dir, |_, _| false).unwrap();
    assert_eq!(mounts(&dir), 0);
}

#[test]
fn one_of_the_same_name_in_another_file_is_another_layer() {
    let place = Place::new();
    let (dir, old) = (place.dir(), place.image("old"));
    assert_eq!(name_in(&clones(&dir, &[Image { file: &old, layer: "x" }]).unwrap()[0]), "old");
    let new = place.image("new");
    std::fs::rename(&new, &old).unwrap();
    assert_eq!(name_in(&clones(&dir, &[Image { file: &old, layer: "x" }]).unwrap()[0]), "new");
    release(&dir, |_, _| false).unwrap();
}

#[test]
fn the_namespace_is_kept_wherever_ours_was_made() {
    let all = sched_getaffinity(None).unwrap();
    let processors: Vec<_> = (0..CpuSet::MAX_CPU).filter(|&cpu| all.is_set(cpu)).take(4).collect();
    let go_to = |cpu: usize| {
        let mut only = CpuSet::new();
        only.set(cpu);
        sched_setaffinity(None, &only).unwrap();
    };
    for &ours in &processors {
        for &theirs in &processors {
            go_to(ours);
            let place = Place::new();
            go_to(theirs);
            sched_setaffinity(None, &all).unwrap();
            let file = place.image("a");
            assert_eq!(name_in(&clones(&place.dir(), &[Image { file: &file, layer: "x" }]).unwrap()[0]), "a");
            release(&place.dir(), |_, _| false).unwrap();
        }
    }
}

#[test]
fn what_is_no_image_is_named_and_leaves_nothing() {
    let place = Place::new();
    let (dir, file) = (place.dir(), place.0.path().join("text"));
    std::fs::write(&file, "not an image".repeat(1000)).unwrap();
    let error = clones(&dir, &[Image { file: &file, layer: "x" }]).unwrap_err();
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    release(&dir, |_, _| true).unwrap();
    assert_eq!(mounts(&dir), 0);
}

#[test]
fn a_loop_device_serves_where_files_cannot_be_mounted() {
    let place = Place::new();
    let file = place.image("a");
    if !Path::new("/dev/loop-control").exists() {
        println!("skipped: mounting through a loop device, because there is none here");
        return;
    }
    let tree = erofs::through_loop(&file).unwrap();
    assert_eq!(name_in(&tree), "a");
    let device = rustix::fs::fstat(&tree).unwrap().st_dev;
    drop(tree);
    let backing = format!(
        "/sys/dev/block/{}:{}/loop/backing_file",
        rustix::fs::major(device),
        rustix::fs::minor(device)
    );
    // The kernel lets go of it when the last user has, a moment later.
    let gone = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        std::fs::read_to_string(&backing).is_err()
    });
    assert!(gone, "the device is still in use");
}

//! Limits of what containers' changes occupy, on file systems that keep them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use loment_testkit::{Faults, Output, Patience, World, run};

use crate::{SLEEP, eventually, world};

/// Of a container, in the tests.
const LIMIT: u64 = 8 << 20;

/// A file system of its own for images and containers.
struct Disk<'w> {
    world: &'w World,
    point: PathBuf,
}

/// Made by this, with what programs are told when a container has what it may have.
const KINDS: [(&[&str], &str); 2] = [
    (&["mkfs.ext4", "-q", "-O", "quota,project"], "Disk quota exceeded"),
    (&["mkfs.xfs", "-q"], "No space left on device"),
];

impl<'w> Disk<'w> {
    fn new(world: &'w World, make: &[&str], options: &str) -> Self {
        let (file, point) = (world.path("disk"), world.path("point"));
        std::fs::File::create(&file).unwrap().set_len(512 << 20).unwrap();
        std::fs::create_dir(&point).unwrap();
        run(Command::new(make[0]).args(&make[1..]).arg(&file), Patience::NORMAL).succeeds();
        let mut mount = Command::new("mount");
        run(mount.args(["-o", options]).arg(&file).arg(&point), Patience::NORMAL).succeeds();
        Self { world, point }
    }

    /// One that keeps limits, with the image `shell`.
    fn with_image(world: &'w World, make: &[&str], fs: &str) -> Self {
        let disk = Self::new(world, make, "loop,prjquota");
        let tar = world.path("fs.tar");
        run(Command::new("tar").args(["-C", fs, "-cf"]).arg(&tar).arg("."), Patience::NORMAL).succeeds();
        disk.loment(&["import", "-q", tar.to_str().unwrap(), "shell"]).succeeds();
        disk
    }

    fn root(&self) -> PathBuf {
        self.point.join("root")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command(["--root"]);
        command.arg(self.root()).args(arguments);
        command
    }

    fn loment(&self, arguments: &[&str]) -> Output {
        run(&mut self.command(arguments), Patience::NORMAL)
    }

    /// Starts a container that runs until it is stopped.
    fn sleeper(&self, name: &str, flags: &[&str]) {
        let head = ["run", "--detach", "--network", "none", "--name", name];
        self.loment(&[&head, flags, &["shell", "sh", "-c", SLEEP]].concat()).succeeds();
    }

    /// Runs `sh -c SCRIPT` in a container that goes with it.
    fn sh(&self, flags: &[&str], script: &str) -> Output {
        let head = ["run", "--rm", "--network", "none"];
        self.loment(&[&head, flags, &["shell", "sh", "-c", script]].concat())
    }

    /// Where a container's changes are.
    fn upper(&self, container: &str) -> PathBuf {
        self.loment(&["inspect", "--format", "{{.GraphDriver.Data.UpperDir}}", container]).succeeds().into()
    }

    /// The number of the project of a container's changes.
    fn project(&self, container: &str) -> u32 {
        let shown =
            run(Command::new("lsattr").args(["-p", "-d"]).arg(self.upper(container)), Patience::NORMAL);
        shown.succeeds().split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number")
    }

    /// Numbers of ours of which the file system has an entry: used or limited.
    fn entries(&self) -> Vec<String> {
        let report =
            run(Command::new("repquota").args(["-P", "-n", "-v"]).arg(&self.point), Patience::NORMAL);
        let lines = report.succeeds().lines();
        let ours = |line: &&str| {
            let mut fields = line.strip_prefix('#').into_iter().flat_map(str::split_whitespace);
            let number: Option<u32> = fields.next().and_then(|n| n.parse().ok());
            let counted = fields.skip(1).take(7).any(|field| field.parse::<u64>().is_ok_and(|n| n > 0));
            number.is_some_and(|n| n >> 24 == 0x4c) && counted
        };
        lines.filter(ours).map(str::to_owned).collect()
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let removed = self.loment(&["rm", "--all", "--force"]);
        self.loment(&["rmi", "--all", "--force"]);
        let mut unmount = Command::new("umount");
        drop(unmount.args(["-l"]).arg(&self.point).stderr(Stdio::null()).status());
        assert!(removed.code == 0 || std::thread::panicking(), "{removed}");
    }
}

/// Bytes that `du` counts.
fn du(path: &Path) -> u64 {
    let shown = run(Command::new("du").args(["-s", "-B1"]).arg(path), Patience::NORMAL);
    shown.succeeds().split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number")
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_has_the_size_it_was_given_and_others_do_not_notice() {
    for (make, said) in KINDS {
        let (world, fs) = world();
        let disk = Disk::with_image(&world, make, &fs);
        disk.sleeper("a", &["--storage-opt", "size=8m"]);
        disk.sleeper("b", &["--storage-opt", "size=8m"]);
        disk.sleeper("free", &[]);
        assert_eq!(disk.entries().len(), 2, "{:?}", disk.entries());
        assert_ne!(disk.project("a"), disk.project("b"));
        assert_eq!(disk.project("free"), 0);
        assert_eq!(
            disk.loment(&["inspect", "-f", "{{.HostConfig.StorageOpt.size}}", "a"]).succeeds(),
            "8388608"
        );
        let full = disk.loment(&["exec", "a", "dd", "if=/dev/zero", "of=/x", "bs=64k", "count=512"]);
        full.fails(1);
        assert!(full.stderr.contains(said), "{full}");
        assert!(du(&disk.upper("a")) <= LIMIT);
        // Programs see what is left, as on a disk of that size.
        let df = disk.loment(&["exec", "a", "sh", "-c", "df -k / | tail -n 1 | awk '{ print $2, $4 }'"]);
        let df: Vec<u64> = df.succeeds().split(' ').map(|n| n.parse().unwrap()).collect();
        assert!(df[0] == LIMIT / 1024 && df[1] < 128, "{df:?}");
        for other in ["b", "free"] {
            disk.loment(&["exec", other, "dd", "if=/dev/zero", "of=/x", "bs=64k", "count=64"]).succeeds();
        }
        let usage = disk.loment(&["system", "df", "--format", "{{.Type}} {{.RawSize}}"]);
        let counted: u64 = ["a", "b", "free"].iter().map(|c| du(&disk.upper(c))).sum();
        assert!(usage.succeeds().contains(&format!("Containers {counted}\n")), "{usage}: {counted}");
        // Being full keeps it neither from ending nor from starting again.
        disk.loment(&["stop", "-t", "0", "a"]).succeeds();
        disk.loment(&["start", "a"]).succeeds();
        disk.loment(&["stop", "-t", "0", "a"]).succeeds();
        disk.loment(&["rm", "a"]).succeeds();
        eventually("its entry has gone", || disk.entries().len() == 1);
        disk.loment(&["rm", "--force", "b"]).succeeds();
        eventually("its entry has gone", || disk.entries().is_empty());
    }
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_has_the_number_of_files_it_was_given() {
    for (make, said) in KINDS {
        let (world, fs) = world();
        let disk = Disk::with_image(&world, make, &fs);
        let script = "n=0; while [ $n -lt 200 ]; do : >/f$n || exit 3; n=$((n + 1)); done";
        let output = disk.sh(&["--storage-opt", "inodes=100"], script);
        assert!(output.code != 0 && output.stderr.contains(said), "{output}");
        disk.sh(&["--storage-opt", "inodes=1k"], script).succeeds();
        eventually("its entry has gone", || disk.entries().is_empty());
    }
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_size_for_all_containers_is_one_that_any_can_do_without() {
    let (world, fs) = world();
    let disk = Disk::with_image(&world, KINDS[0].0, &fs);
    let script = "dd if=/dev/zero of=/x bs=64k count=512";
    let all = |flags: &[&str]| {
        let head = ["--storage-opt", "overlay.size=8m", "run", "--rm", "--network", "none"];
        disk.loment(&[&head, flags, &["shell", "sh", "-c", script]].concat())
    };
    all(&[]).fails(1);
    all(&["--storage-opt", "size=64m"]).succeeds();
    all(&["--storage-opt", "size=0"]).succeeds();
    // What is thrown away anyway is in memory, and limited there.
    let over = format!("{fs}:O");
    let head = ["run", "--rm", "--network", "none", "--storage-opt", "size=8m", "--rootfs"];
    disk.loment(&[&head[..], &[&over, "sh", "-c", script]].concat()).fails(1);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn with_users_of_its_own_it_is_limited_as_well() {
    let (world, fs) = world();
    let disk = Disk::with_image(&world, KINDS[0].0, &fs);
    let flags = ["--uidmap", "0:100000:65536", "--storage-opt", "size=8m"];
    let output = disk.sh(&flags, "dd if=/dev/zero of=/x bs=64k count=512");
    output.fails(1);
    assert!(output.stderr.contains(KINDS[0].1), "{output}");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn containers_that_are_made_at_once_have_different_numbers() {
    let (world, fs) = world();
    let disk = Disk::with_image(&world, KINDS[0].0, &fs);
    let create = |n: usize| {
        let name = format!("c{n}");
        let arguments =
            ["create", "--network", "none", "--name", &name, "--storage-opt", "size=8m", "shell", "true"];
        disk.command(&arguments).stdout(Stdio::null()).spawn().unwrap()
    };
    let makers: Vec<_> = (0..16).map(create).collect();
    for mut maker in makers {
        assert!(maker.wait().unwrap().success());
    }
    let projects: std::collections::BTreeSet<u32> = (0..16).map(|n| disk.project(&format!("c{n}"))).collect();
    assert_eq!(projects.len(), 16);
    assert_eq!(disk.entries().len(), 16);
}

impl Disk<'_> {
    /// Runs a command again and again and kills it one change later than before, until it comes to its end. After each: nothing is
    /// damaged, and `clear` leaves no container, no file of one and no entry of a limit.
    fn kill_everywhere(&self, prepare: &dyn Fn(), arguments: &[&str], clear: &[&[&str]]) -> Vec<String> {
        let faults = Faults::below([self.root()]);
        let mut changes = Vec::new();
        for nth in 1.. {
            assert!(nth < 1000, "it never comes to its end");
            prepare();
            let stopped = faults.kill_before(nth, &mut self.command(arguments));
            let when = format!("{arguments:?} killed before change {nth}: {stopped:?}");
            let check = self.loment(&["system", "check", "--quick"]);
            assert_eq!(check.code, 0, "{when}: {check}");
            for clear in clear {
                let output = self.loment(clear);
                assert_eq!(output.code, 0, "{when}: {clear:?}: {output}");
            }
            let is_left = |dir: &str| std::fs::read_dir(self.root().join(dir)).unwrap().next().is_some();
            eventually(&format!("{when}: all is removed"), || {
                !["containers", "staging", "tombs", "leases"].iter().any(|dir| is_left(dir))
            });
            eventually(&format!("{when}: its entry has gone: {:?}", self.entries()), || {
                self.entries().is_empty()
            });
            match stopped.before {
                Some(before) => changes.push(before),
                None => {
                    assert_eq!(stopped.code, Some(0), "{when}");
                    break;
                }
            }
        }
        changes
    }
}

const CREATE: [&str; 9] =
    ["create", "--network", "none", "--name", "c", "--storage-opt", "size=8m", "shell", "true"];
const REMOVE: [&str; 3] = ["rm", "--all", "--force"];

/// Who sets limits is killed. What adds something takes what is left half made.
fn killed_while_they_are_set(make: &[&str]) {
    let (world, fs) = world();
    let disk = Disk::with_image(&world, make, &fs);
    let again = CREATE.map(|word| if word == "c" { "d" } else { word });
    let changes = disk.kill_everywhere(&|| (), &CREATE, &[&again, &REMOVE]);
    for call in ["ioctl ", "quotactl_fd "] {
        assert!(changes.iter().any(|change| change.starts_with(call)), "no {call}in {changes:?}");
    }
}

/// Who takes them back is killed: a tomb keeps its limits until they are taken back.
fn killed_while_they_are_taken_back(make: &[&str]) {
    let (world, fs) = world();
    let disk = Disk::with_image(&world, make, &fs);
    let made = || {
        disk.loment(&CREATE).succeeds();
    };
    let again = CREATE.map(|word| if word == "c" { "d" } else { word });
    let changes = disk.kill_everywhere(&made, &REMOVE, &[&again, &REMOVE]);
    assert!(changes.iter().any(|change| change.starts_with("quotactl_fd ")), "{changes:?}");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn limits_on_ext4_are_set_whenever_who_does_that_is_killed() {
    killed_while_they_are_set(KINDS[0].0);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn limits_on_xfs_are_set_whenever_who_does_that_is_killed() {
    killed_while_they_are_set(KINDS[1].0);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn limits_on_ext4_are_taken_back_whenever_who_does_that_is_killed() {
    killed_while_they_are_taken_back(KINDS[0].0);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn limits_on_xfs_are_taken_back_whenever_who_does_that_is_killed() {
    killed_while_they_are_taken_back(KINDS[1].0);
}

/// quotactl_fd(2) is of Linux 5.14.
#[test]
#[ignore = "run by cargo xtask vm-test"]
fn an_older_kernel_is_told_by_the_name_of_the_device() {
    let (world, fs) = world();
    let disk = Disk::with_image(&world, KINDS[0].0, &fs);
    let create = disk.command(&["create", "--network", "none", "--storage-opt", "size=8m", "shell", "true"]);
    let mut old = Command::new("systemd-run");
    old.args(["--quiet", "--pipe", "--wait", "--property=SystemCallFilter=~quotactl_fd"]);
    old.args(["--property=SystemCallErrorNumber=ENOSYS"]).arg(create.get_program()).args(create.get_args());
    run(&mut old, Patience::NORMAL).succeeds();
    assert_eq!(disk.entries().len(), 1);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn what_does_not_keep_sizes_says_what_to_do() {
    let cases: [(&[&str], &str, &str); 4] = [
        (
            KINDS[0].0,
            "loop",
            "on ext4, which does not limit the size of containers as it is: mount it with the option prjquota",
        ),
        (
            &["mkfs.ext4", "-q"],
            "loop",
            "on ext4, which does not limit the size of containers as it is: run `tune2fs -O",
        ),
        (
            KINDS[1].0,
            "loop",
            "on XFS, which does not limit the size of containers as it is: mount it with the option prjquota, anew",
        ),
        (KINDS[1].0, "loop,uquota", "on XFS"),
    ];
    for (make, options, said) in cases {
        let (world, _) = world();
        let disk = Disk::new(&world, make, options);
        // Nothing is pulled for it: there is no such image.
        let output =
            disk.loment(&["create", "--storage-opt", "size=8m", "--name", "c", "localhost:1/none", "true"]);
        output.fails_saying(125, &[&disk.root().display().to_string(), said]);
        assert_eq!(std::fs::read_dir(disk.root().join("containers")).unwrap().count(), 0);
    }
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_volume_has_the_size_it_was_given_also_when_an_image_fills_it() {
    for (make, said) in KINDS {
        let (world, fs) = world();
        let disk = Disk::with_image(&world, make, &fs);
        disk.loment(&["volume", "create", "-o", "o=size=4m", "v"]).succeeds();
        // What the image has there comes first.
        disk.sh(&["-v", "v:/bin"], "true").succeeds();
        let write = "dd if=/dev/zero of=/v/big bs=1M count=8";
        let output = disk.sh(&["-v", "v:/v"], write);
        assert!(output.code != 0 && output.stderr.contains(said), "{output}");
        disk.loment(&["volume", "rm", "v"]).succeeds();
        let anonymous = "type=volume,dst=/v,volume-opt=o=size=4m";
        let output = disk.sh(&["--mount", anonymous], write);
        assert!(output.code != 0 && output.stderr.contains(said), "{output}");
        eventually("its entry has gone", || disk.entries().is_empty());
    }
}

//! Both forms of layers: what containers see of them, where they are mounted, and when they no longer are.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use loment_testkit::{Expected, HOLES, World, sparse_expectations, tree_expectations};
use rustix::fs::SeekFrom;

use crate::{eventually, fixtures, pid_of, world};

const FORMS: [&str; 2] = ["loment.form=erofs", "loment.form=dir"];

/// A world with an image whose layers are kept like this.
fn world_with(form: &str, image: &str) -> (World, String) {
    let world = world();
    let registry = fixtures().serve();
    let name = registry.name(image);
    world.loment(["--storage-opt", form, "pull", "-q", "--tls-verify=false", &name]).succeeds();
    (world, name)
}

fn start(world: &World, container: &str, image: &str) {
    world.loment(["run", "-d", "--network", "none", "--name", container, image, "sleep", "1000"]).succeeds();
}

#[track_caller]
fn holds(world: &World, image: &str, expectations: &[Expected]) {
    // One container for all: what is looked at is the image.
    start(world, "tree", image);
    for Expected { command, prints } in expectations {
        let output = world.loment(["exec", "tree", "sh", "-c", command]);
        assert_eq!(output.stdout.trim_end(), prints, "{output}");
    }
}

#[test]
fn a_container_sees_layers_as_their_tars_say() {
    for form in FORMS {
        let (world, image) = world_with(form, "tree:latest");
        holds(&world, &image, &tree_expectations());
        let pid = pid_of(&world, "tree");
        let mut getfattr = Command::new("getfattr");
        getfattr.args(["--absolute-names", "--only-values", "-n", "user.loment.test"]);
        let value = getfattr.arg(format!("/proc/{pid}/root/attrs/xattr")).output().unwrap();
        assert_eq!(value.stdout, b"value \x00\xff of bytes", "{form}");
        // CAP_NET_BIND_SERVICE, for a user that has none.
        let script = "/attrs/busybox-capable cat /proc/self/status | grep CapEff | cut -f2";
        let output = world.loment(["exec", "--user", "1000", "tree", "sh", "-c", script]);
        assert_eq!(output.succeeds(), "0000000000000400", "{form}");
        // Programs that stay on one file system see one.
        let script =
            "find /attrs /bin /opaque -xdev | head -n 5000 | xargs stat -c %d 2>/dev/null | sort -u | wc -l";
        assert_eq!(world.loment(["exec", "tree", "sh", "-c", script]).succeeds(), "1", "{form}");
    }
}

#[test]
fn holes_of_a_file_stay_holes() {
    for form in FORMS {
        let (world, image) = world_with(form, "sparse:latest");
        holds(&world, &image, &sparse_expectations());
        let file = File::open(format!("/proc/{}/root/sparse", pid_of(&world, "tree"))).unwrap();
        let data = rustix::fs::seek(&file, SeekFrom::Data(HOLES[0])).unwrap();
        if form == FORMS[0] && data == HOLES[0] && !erofs_tells_holes() {
            println!("skipped: EROFS of this kernel says of every file that it has no holes");
            continue;
        }
        assert!(data > HOLES[1] - (1 << 20), "{form}: there is data at {data}");
    }
}

/// That of Linux 6.12 does not, that of 6.18 does.
pub(crate) fn erofs_tells_holes() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(18))
}

#[test]
fn a_user_namespace_shifts_owners_without_touching_files() {
    for form in FORMS {
        let (world, image) = world_with(form, "tree:latest");
        let run = [
            "run",
            "-d",
            "--network",
            "none",
            "--name",
            "c",
            "--uidmap",
            "0:100000:65536",
            "-w",
            "/made/here",
        ];
        // Docker makes a working directory that is not there.
        world.persona("docker", [&run[..], &[&image, "sleep", "1000"]].concat()).succeeds();
        let exec = |script: &str| world.loment(["exec", "c", "sh", "-c", script]).succeeds().to_owned();
        assert_eq!(
            exec("id -u; stat -c %u /bin/busybox /made/here /etc/hosts /dev/pts/ptmx /"),
            "0\n0\n0\n0\n0\n0"
        );
        assert_eq!(exec("stat -c '%u %g' /attrs/owned"), "65534 65534", "{form}: nobody's there");
        exec("cd /attrs; echo x >one; touch new; chown 7:8 new; mkdir /bin/dir; echo y >/etc/hosts");
        assert_eq!(exec("stat -c '%u %g' /attrs/new; cat /attrs/one"), "7 8\nx");
        let pid = pid_of(&world, "c");
        let outside = |path: &str| {
            let found = fs::metadata(format!("/proc/{pid}/root/{path}")).unwrap();
            (found.uid(), found.gid())
        };
        assert_eq!((outside("bin/busybox"), outside("attrs/new")), ((100_000, 100_000), (100_007, 100_008)));
        assert_eq!(fs::metadata(format!("/proc/{pid}")).unwrap().uid(), 100_000);
        // What is kept has the owners it has inside: another container may see it with other eyes.
        let id = world.inspect("{{.Id}}", "c");
        let kept = fs::metadata(world.root().join("containers").join(id).join("upper/attrs/new")).unwrap();
        assert_eq!((kept.uid(), kept.gid()), (7, 8));
        start(&world, "plain", &image);
        let pid = pid_of(&world, "plain");
        assert_eq!(fs::metadata(format!("/proc/{pid}/root/bin/busybox")).unwrap().uid(), 0);
    }
    for bad in ["0:1", "0:100000:0", "x:1:2", "0:4294967295:2"] {
        let (world, _) = crate::world_over_directory();
        let output = world.loment(["create", "--uidmap", bad, "--rootfs", "/", "true"]);
        assert!(bad == "0:1" || output.code == 125 && output.stderr.contains(bad), "{output}");
        world
            .loment(["create", "--uidmap", "1:100000:5", "--rootfs", "/", "true"])
            .fails_saying(125, &["--uidmap", "0:HOST"]);
    }
}

fn mounts_of(world: &World) -> Vec<String> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(str::to_owned);
    points.filter(|point| point.starts_with(world.dir().to_str().unwrap())).collect()
}

#[test]
fn layers_are_mounted_once_and_until_they_are_removed() {
    let (world, image) = world_with("loment.form=erofs", "busybox:latest");
    let layers = || fs::read_dir(world.root().join("layers")).unwrap().flatten();
    assert!(layers().all(|layer| layer.path().join("layer.erofs").is_file()));
    assert_eq!(mounts_of(&world), [""; 0]);
    start(&world, "one", &image);
    start(&world, "two", &image);
    let pins = world.runroot().join("pins");
    let kept = [pins.display().to_string(), pins.join("ns").display().to_string()];
    assert_eq!(mounts_of(&world), kept, "the host sees two mounts, however many layers and containers");
    world.loment(["rmi", &image]).fails_saying(2, &["in use"]);
    world.loment(["rm", "-f", "--time", "0", "one", "two"]).succeeds();
    assert_eq!(mounts_of(&world), kept, "they stay for the next container");
    world.loment(["rmi", &image]).succeeds();
    assert!(world.leftovers().is_empty());
    eventually("layers are unmounted", || mounts_of(&world).is_empty());
}

#[test]
fn a_layer_that_comes_back_is_mounted_anew() {
    let registry = fixtures().serve();
    let (world, image) = (world(), registry.name("busybox:latest"));
    for _ in 0..3 {
        world
            .loment(["--storage-opt", "loment.form=erofs", "pull", "-q", "--tls-verify=false", &image])
            .succeeds();
        assert_eq!(world.loment(["run", "--rm", "--network", "none", &image, "echo", "x"]).succeeds(), "x");
        world.loment(["rmi", &image]).succeeds();
    }
}

#[test]
fn other_options_of_the_store_are_refused() {
    let world = world();
    for option in ["overlay.ignore_chown_errors=true", "loment.form=zfs", "loment.form"] {
        world.loment(["--storage-opt", option, "images"]).fails_saying(125, &[option, "--storage-opt"]);
    }
}

#[test]
fn a_start_that_hangs_is_ended_by_a_removal_by_force() {
    let (world, image) = world_with("loment.form=erofs", "busybox:latest");
    start(&world, "a", &image);
    world.loment(["kill", "a"]).succeeds();
    // Nobody can look for layers: what a server of files that does not answer is like.
    let lock = fs::File::open(world.runroot().join("pins.lock")).unwrap();
    lock.lock().unwrap();
    let id = world.inspect("{{.Id}}", "a");
    let mut hung = world.command(["start", "a"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let dir = fs::File::open(world.root().join("containers").join(&id)).unwrap();
    crate::eventually("it is being started", || match dir.try_lock() {
        Ok(()) => {
            dir.unlock().unwrap();
            false
        }
        Err(_) => world.runroot().join("containers").join(&id).join("monitor.sock").exists(),
    });
    world.loment(["rm", "--force", "a"]).succeeds();
    assert_eq!(hung.wait().unwrap().code(), Some(125));
    drop(lock);
    assert_eq!(world.loment(["ps", "--all", "--quiet"]).succeeds(), "");
}

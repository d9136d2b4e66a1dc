//! storage.conf: how root file systems are mounted.

use loment_testkit::{Output, Patience, World, run};

use crate::{fixtures, world};

/// `GLOBALS run --rm IMAGE sh -c SCRIPT` with a storage.conf of this text.
fn under(world: &World, conf: &str, globals: &[&str], image: &str, script: &str) -> Output {
    let conf = world.write("storage.conf", conf);
    let rest = ["run", "--rm", "--network", "none", image, "sh", "-c", script];
    let mut command = world.command([globals, &rest].concat());
    run(command.env("CONTAINERS_STORAGE_CONF", conf), Patience::NORMAL)
}

/// How the root file system of a container is mounted, as far as that is words of which there are none otherwise.
#[track_caller]
fn words(world: &World, conf: &str, globals: &[&str], image: &str) -> Vec<String> {
    let output = under(world, conf, globals, image, "grep ' / ' /proc/self/mounts");
    let options = output.succeeds().split(' ').nth(3).unwrap().to_owned();
    let ours = ["nodev", "nosuid", "noexec", "noatime"];
    options.split(',').filter(|word| ours.contains(word)).map(str::to_owned).collect()
}

#[test]
fn root_file_systems_are_mounted_as_storage_conf_says() {
    let (world, registry) = (world(), fixtures().serve());
    let image = registry.name("busybox:latest");
    let said = "[storage.options.overlay]\nmountopt = \"nodev,metacopy=on\"\n";
    for form in ["loment.form=dir", "loment.form=erofs"] {
        world.loment(["rmi", "--all", "--force"]).succeeds();
        world.loment(["--storage-opt", form, "pull", "--quiet", "--tls-verify=false", &image]).succeeds();
        assert_eq!(words(&world, "", &[], &image), [""; 0], "{form}");
        assert_eq!(words(&world, said, &[], &image), ["nodev"], "{form}");
        let all = "[storage.options]\nmountopt = \"noatime,nosuid,nodev\"";
        let mut found = words(&world, all, &[], &image);
        found.sort();
        assert_eq!(found, ["noatime", "nodev", "nosuid"], "{form}");
        // Its own devices are as ever.
        under(&world, said, &[], &image, "echo x >/dev/null").succeeds();
        let flag = ["--storage-opt", "overlay.mountopt=nosuid"];
        assert_eq!(words(&world, said, &flag, &image), ["nosuid"], "{form}");
    }
    let noexec = under(&world, "[storage.options.overlay]\nmountopt = \"noexec\"", &[], &image, "true");
    noexec.fails_saying(126, &["ermission denied"]);
    // What files have that come with images of Podman.
    let stock = "[storage.options.overlay]\nmount_program = \"/usr/bin/fuse-overlayfs\"\nmountopt = \"nodev,fsync=0\"\n";
    assert_eq!(words(&world, stock, &[], &image), ["nodev"]);
    for (word, text) in [("loud", "nodev,loud"), ("size=1g", "size=1g")] {
        let conf = format!("[storage.options.overlay]\nmountopt = \"{text}\"");
        let output = under(&world, &conf, &[], &image, "true");
        output.fails_saying(125, &[&format!("\"{word}\" for mountopt in storage.conf"), "nodev, nosuid"]);
        let flag = ["--storage-opt", &format!("overlay.mountopt={text}")];
        under(&world, "", &flag, &image, "true").fails_saying(125, &[word, "--storage-opt overlay.mountopt"]);
    }
    world.loment(["rmi", "--all", "--force"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

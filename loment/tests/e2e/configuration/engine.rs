//! `[engine]` and `[secrets]`: what this program itself does.

use loment_testkit::{Patience, run};

use super::{says, under};
use crate::{world_over_directory, world_with};

const ROOTFS: &[&str] = &["--network", "none", "--rootfs"];

#[test]
fn stop_timeouts_are_as_the_file_says() {
    let (world, image) = world_over_directory();
    let file = world.write("engine.conf", "[engine]\nstop_timeout = 77\ncgroup_manager = \"cgroupfs\"\n");
    let create = |flags: &[&str]| {
        let head = ["create", "--name", "c", "--replace", "--network", "none"];
        let arguments = [&head, flags, &["--rootfs", image.as_str(), "true"]].concat();
        run(world.command(arguments).env("CONTAINERS_CONF", &file), Patience::NORMAL).succeeds();
        world.inspect("{{.Config.StopTimeout}} {{.HostConfig.CgroupManager}}", "c")
    };
    assert_eq!(create(&[]), "77 cgroupfs");
    assert_eq!(create(&["--stop-timeout", "3"]), "3 cgroupfs");
}

#[test]
fn variables_of_the_file_are_this_programs_and_not_containers() {
    let (world, image) = world_over_directory();
    let conf = "[engine]\nenv = [\"https_proxy=of the file\", \"OTHER=x\"]\n";
    let said = says(&world, conf, ROOTFS, &image, "echo $https_proxy,$OTHER");
    assert_eq!(said, "of the file,");
    under(&world, "[engine]\nenv = [\"OTHER\"]\n", ROOTFS, &image, "true")
        .fails_saying(125, &["containers.conf: invalid env \"OTHER\": use NAME=VALUE"]);
}

#[test]
fn runtimes_and_policies_are_those_that_a_flag_may_name() {
    let (world, image) = world_over_directory();
    says(
        &world,
        "[engine]\nruntime = \"crun\"\n[engine.runtimes]\ncrun = [\"/usr/bin/crun\"]\n",
        ROOTFS,
        &image,
        "true",
    );
    let conf = "[engine]\nruntime = \"kata\"\n";
    under(&world, conf, ROOTFS, &image, "true")
        .fails_saying(125, &["containers.conf: invalid runtime \"kata\"", "executes no other runtime"]);
    says(&world, conf, &["--runtime", "crun", "--network", "none", "--rootfs"], &image, "true");
    let file = world.write("transport.conf", "[engine]\nimage_default_transport = \"oci:\"\n");
    let mut command = world.command(["pull", "localhost:1/none:such"]);
    let refused = run(command.env("CONTAINERS_CONF", file), Patience::NORMAL);
    refused.fails_saying(125, &["transport.conf: invalid image_default_transport \"oci:\""]);
    let conf = "[engine]\npull_policy = \"never\"\n";
    let file = world.write("never.conf", conf);
    let mut command = world.command(["create", "--network", "none", "localhost/none:such", "true"]);
    let refused = run(command.env("CONTAINERS_CONF", file), Patience::NORMAL);
    assert_eq!(refused.code, 125);
    assert!(!refused.stderr.contains("Trying to pull"), "{}", refused.stderr);
}

#[test]
fn what_checks_of_health_come_to_is_no_event_if_the_file_says_so() {
    let (world, image) = world_over_directory();
    let told = |conf: &str| {
        let file = world.write("health.conf", conf);
        let arguments = [
            "run",
            "--detach",
            "--name",
            "c",
            "--replace",
            "--network",
            "none",
            "--health-cmd",
            "true",
            "--health-interval",
            "0",
        ];
        let mut command = world.command([&arguments[..], &["--rootfs", &image, "sleep", "60"]].concat());
        run(command.env("CONTAINERS_CONF", file), Patience::NORMAL).succeeds();
        world.loment(["healthcheck", "run", "c"]).succeeds();
        let id = world.inspect("{{.Id}}", "c");
        let filter = format!("container={id}");
        let events =
            world.loment(["events", "--stream=false", "--filter", &filter, "--format", "{{.Status}}"]);
        let told = events.succeeds().contains("health_status");
        world.loment(["rm", "--force", "c"]).succeeds();
        told
    };
    assert!(told(""));
    assert!(!told("[engine]\nhealthcheck_events = false\nno_pivot_root = true\n"));
}

#[test]
fn drivers_of_secrets_are_as_the_file_says() {
    let (world, _) = world_over_directory();
    let kept = world.path("kept");
    let conf = format!(
        "[secrets]\ndriver = \"shell\"\n[secrets.opts]\nstore = \"cat >{0}\"\nlookup = \"cat {0}\"\ndelete = \"rm {0}\"\n",
        kept.display()
    );
    let file = world.write("secrets.conf", conf);
    let value = world.write("value", "known");
    let create = |flags: &[&str], name: &str| {
        let arguments = [&["secret", "create"], flags, &[name, value.as_str()]].concat();
        run(world.command(arguments).env("CONTAINERS_CONF", &file), Patience::NORMAL).succeeds();
        world.loment(["secret", "inspect", "--format", "{{.Spec.Driver.Name}}", name]).succeeds().to_owned()
    };
    assert_eq!(create(&[], "a"), "shell");
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "known");
    assert_eq!(create(&["--driver", "file"], "b"), "file");
    world.loment(["secret", "rm", "a", "b"]).succeeds();
    assert!(!kept.exists());
}

#[test]
fn the_keys_that_leave_a_terminal_are_checked_before_anything_is_made() {
    let (world, image) = world_over_directory();
    let file = world.write("keys.conf", "[engine]\ndetach_keys = \"ctrl-\"\n");
    let mut command =
        world.command(["run", "--tty", "--name", "c", "--network", "none", "--rootfs", &image, "true"]);
    let refused = run(command.env("CONTAINERS_CONF", file), Patience::NORMAL);
    refused.fails_saying(125, &["keys.conf: invalid detach_keys \"ctrl-\""]);
    assert_eq!(world.loment(["ps", "--all", "--quiet"]).succeeds(), "");
}

#[test]
fn volumes_of_images_and_archives_of_several_are_as_the_file_says() {
    let (world, image) = world_with("app:latest");
    let kind = |conf: &str, flags: &[&str]| {
        let flags = [&["--network", "none", "--entrypoint", "", "--user", "0"], flags].concat();
        says(&world, conf, &flags, &image, "grep ' /data ' /proc/mounts | cut -d' ' -f3")
    };
    let conf = "[engine]\nimage_volume_mode = \"tmpfs\"\n";
    assert_eq!(kind(conf, &[]), "tmpfs");
    assert_eq!(kind(conf, &["--image-volume", "ignore"]), "");
    under(&world, "[engine]\nimage_volume_mode = \"some\"\n", &["--network", "none"], &image, "true")
        .fails_saying(125, &["containers.conf: invalid image_volume_mode \"some\""]);

    world.loment(["tag", &image, "localhost/other:1"]).succeeds();
    let names = |conf: &str, flags: &[&str]| {
        let (file, archive) = (world.write("archive.conf", conf), world.path("archive.tar"));
        let _ = std::fs::remove_file(&archive);
        let head = ["save", "--quiet", "--output", archive.to_str().unwrap()];
        let mut save = world.command([&head, flags, &[&image, "localhost/other:1"]].concat());
        run(save.env("CONTAINERS_CONF", file), Patience::NORMAL).succeeds();
        let mut tar = std::process::Command::new("tar");
        tar.args(["--extract", "--to-stdout", "--file"]).arg(&archive).arg("manifest.json");
        run(&mut tar, Patience::NORMAL).succeeds().matches("\"Config\"").count()
    };
    // Further names are those of the first, or of images in their own right, of which two are the same here.
    assert_eq!(names("", &[]), 1);
    assert_eq!(names("[engine]\nmulti_image_archive = true\n", &[]), names("", &["--multi-image-archive"]));
}

//! Devices that files describe (CDI).

use std::path::{Path, PathBuf};

use loment_testkit::{Patience, World, run};

use crate::world_over_directory;

/// Descriptions of two devices of one kind, in a directory of their own; one of them is there as YAML.
fn described(world: &World) -> PathBuf {
    let dir = world.path("cdi");
    std::fs::create_dir(&dir).unwrap();
    let given = world.write("given", "of the driver\n");
    let mark = world.path("mark").display().to_string();
    let yaml = format!(
        "---\ncdiVersion: 0.6.0\nkind: vendor.com/gpu\ncontainerEdits:\n  env: [ANY=1]\n  additionalGids: [4242]\n\
         devices:\n- name: 0\n  containerEdits:\n    env: [CARD=0]\n    deviceNodes:\n    - {{path: /dev/card0, hostPath: /dev/zero, fileMode: 0640, permissions: r}}\n\
         \x20   mounts:\n    - {{hostPath: {given}, containerPath: /driver, options: [ro, nosuid, bind]}}\n\
         \x20   hooks:\n    - {{hookName: createRuntime, path: /bin/sh, args: [sh, -c, \"echo made >>{mark}\"]}}\n\
         \x20   - {{hookName: poststop, path: /bin/sh, args: [sh, -c, \"echo gone >>{mark}\"]}}\n"
    );
    std::fs::write(dir.join("gpu.yaml"), yaml).unwrap();
    let json = r#"{"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [
        {"name": "all", "containerEdits": {"env": ["GPUS=all"]}}, {"name": "1", "containerEdits": {"env": ["GPUS=1"]}}]}"#;
    std::fs::write(dir.join("nvidia.json"), json).unwrap();
    dir
}

fn words<'a>(dir: &'a Path, flags: &[&'a str], image: &'a str, script: &'a str) -> Vec<&'a str> {
    let head = ["--cdi-spec-dir", dir.to_str().unwrap(), "run", "--rm", "--network", "none"];
    [&head[..], flags, &["--rootfs", image, "sh", "-c", script]].concat()
}

#[test]
fn a_container_gets_all_that_a_device_needs() {
    let (world, image) = world_over_directory();
    let dir = described(&world);
    let script = "echo $ANY $CARD; stat -c '%t:%T %a' /dev/card0; head -c1 /dev/card0 | wc -c; (echo >/dev/card0) 2>&1 | grep -c .; \
                  cat /driver; touch /driver 2>/dev/null || echo unwritable; id -G";
    let said =
        world.loment(words(&dir, &["--device", "vendor.com/gpu=0"], &image, script)).succeeds().to_owned();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..3], ["1 0", "1:5 640", "1"], "{said}");
    assert!(lines.contains(&"of the driver") && lines.contains(&"unwritable"), "{said}");
    assert!(lines.last().unwrap().split(' ').any(|group| group == "4242"), "{said}");
    let mark = world.path("mark");
    crate::eventually("the hook after its end has run", || {
        std::fs::read_to_string(&mark).is_ok_and(|text| text == "made\ngone\n")
    });
    // Another user, and containers.conf.
    let script = "echo $GPUS";
    for flags in
        [&["--gpus", "all"][..], &["--gpus=device=all", "--user", "7"], &["--device", "nvidia.com/gpu=all"]]
    {
        assert_eq!(world.loment(words(&dir, flags, &image, script)).succeeds(), "all", "{flags:?}");
    }
    assert_eq!(world.loment(words(&dir, &["--gpus", "device=1"], &image, script)).succeeds(), "1");
    let conf = world.write(
        "cdi.conf",
        format!(
            "[containers]\ndevices = [\"nvidia.com/gpu=1\"]\n[engine]\ncdi_spec_dirs = [{:?}]\n",
            dir.display().to_string()
        ),
    );
    let mut command =
        world.command(["run", "--rm", "--network", "none", "--rootfs", &image, "sh", "-c", script]);
    assert_eq!(run(command.env("CONTAINERS_CONF", conf), Patience::NORMAL).succeeds(), "1");
}

#[test]
fn descriptions_are_looked_up_at_each_start() {
    let (world, image) = world_over_directory();
    let dir = described(&world);
    let cdi = dir.to_str().unwrap();
    let create = [
        "--cdi-spec-dir",
        cdi,
        "create",
        "--name",
        "c",
        "--network",
        "none",
        "--gpus",
        "all",
        "--rootfs",
        &image,
    ];
    world.loment([&create[..], &["sh", "-c", "echo $GPUS"]].concat()).succeeds();
    assert_eq!(world.loment(["start", "--attach", "c"]).succeeds(), "all");
    let json = r#"{"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [{"name": "all", "containerEdits": {"env": ["GPUS=new"]}}]}"#;
    std::fs::write(dir.join("nvidia.json"), json).unwrap();
    assert_eq!(world.loment(["start", "--attach", "c"]).succeeds(), "new");
    std::fs::remove_file(dir.join("nvidia.json")).unwrap();
    world.loment(["start", "c"]).fails_saying(125, &["nvidia.com/gpu=all", cdi]);
}

#[test]
fn what_nobody_describes_is_refused_with_where_it_was_looked_for() {
    let (world, image) = world_over_directory();
    let dir = described(&world);
    let run = |flags: &[&str]| world.loment(words(&dir, flags, &image, "true"));
    run(&["--device", "vendor.com/gpu=9"])
        .fails_saying(125, &["vendor.com/gpu=9", "no file in", dir.to_str().unwrap()]);
    run(&["--gpus", "7"]).fails_saying(125, &["nvidia.com/gpu=0"]);
    run(&["--gpus", "some=thing"]).fails_saying(125, &["--gpus", "some=thing"]);
    std::fs::write(dir.join("bad.json"), "{").unwrap();
    run(&["--device", "other.com/x=y"]).fails_saying(125, &["other.com/x=y", "bad.json"]);
    // The others are there all the same.
    run(&["--gpus", "all"]).succeeds();
    std::fs::copy(dir.join("gpu.yaml"), dir.join("again.yaml")).unwrap();
    run(&["--device", "vendor.com/gpu=0"]).fails_saying(125, &["described in both", "again.yaml"]);
    world
        .loment(["run", "--rm", "--network", "none", "--gpus", "all", "--rootfs", &image, "true"])
        .fails_saying(125, &["nvidia.com/gpu=all", "/etc/cdi"]);
}

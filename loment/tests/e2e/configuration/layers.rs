//! Which files count, and in which order.

use std::fs;

use loment_testkit::{Output, Patience, World, run};

use crate::world_over_directory;

/// What a container says of `$A`, with these variables instead of `CONTAINERS_CONF`, and these flags before the command.
fn value(world: &World, image: &str, globals: &[&str], variables: &[(&str, &str)]) -> Output {
    let arguments =
        [globals, &["run", "--rm", "--network", "none", "--rootfs", image, "sh", "-c", "echo $A"]].concat();
    let mut command = world.command(arguments);
    run(command.env_remove("CONTAINERS_CONF").envs(variables.iter().copied()), Patience::NORMAL)
}

fn says(list: &str) -> String {
    format!("[containers]\nenv = [{list}]\n")
}

#[test]
fn the_users_files_drop_ins_modules_and_overrides_count_in_their_order() {
    let (world, image) = world_over_directory();
    let config = world.path("config");
    let home = config.to_str().unwrap();
    let containers = config.join("containers");
    for dir in [
        "containers.conf.d",
        "containers.rootful.conf.d",
        "containers.rootless.conf.d",
        "containers.conf.modules/sub",
    ] {
        fs::create_dir_all(containers.join(dir)).unwrap();
    }
    let write = |name: &str, list: &str| fs::write(containers.join(name), says(list)).unwrap();
    let xdg = [("XDG_CONFIG_HOME", home)];
    let said = |globals: &[&str], more: &[(&str, &str)]| {
        value(&world, &image, globals, &[&xdg[..], more].concat()).succeeds().to_owned()
    };
    write("containers.conf", "\"A=main\"");
    assert_eq!(said(&[], &[]), "main");
    write("containers.rootless.conf.d/99.conf", "\"A=not root's\"");
    write("containers.conf.d/10.conf", "\"A=ten\"");
    assert_eq!(said(&[], &[]), "ten");
    write("containers.rootful.conf.d/20.conf", "\"A=twenty\"");
    write("containers.conf.d/90.txt", "\"A=no configuration\"");
    assert_eq!(said(&[], &[]), "twenty");
    write("containers.conf.modules/one.conf", "\"A=one\"");
    write("containers.conf.modules/sub/two.conf", "\"A=two\"");
    assert_eq!(said(&["--module", "one.conf"], &[]), "one");
    assert_eq!(said(&["--module", "one.conf", "--module=sub/two.conf"], &[]), "two");
    let elsewhere = world.write("elsewhere.conf", says("\"A=elsewhere\""));
    assert_eq!(said(&["--module", &elsewhere], &[]), "elsewhere");
    let last = world.write("last.conf", says("\"A=last\""));
    assert_eq!(said(&["--module", "one.conf"], &[("CONTAINERS_CONF_OVERRIDE", &last)]), "last");
    // One that the environment names stands for all of them but modules and the override.
    let only = world.write("only.conf", says("\"A=only\""));
    assert_eq!(said(&[], &[("CONTAINERS_CONF", &only)]), "only");
    assert_eq!(said(&["--module", "one.conf"], &[("CONTAINERS_CONF", &only)]), "one");
    assert_eq!(said(&[], &[("CONTAINERS_CONF", &only), ("CONTAINERS_CONF_OVERRIDE", &last)]), "last");
    value(&world, &image, &["--module", "none.conf"], &xdg)
        .fails_saying(125, &["could not resolve module \"none.conf\"", "containers.conf.modules"]);
    value(&world, &image, &[], &[("CONTAINERS_CONF", "/nowhere.conf")]).fails_saying(125, &["/nowhere.conf"]);

    // `info` tells them.
    let mut info = world.command(["--module", "one.conf", "info", "--format", "json"]);
    let info = run(info.env_remove("CONTAINERS_CONF").envs(xdg), Patience::NORMAL);
    let info: serde_json::Value = serde_json::from_str(info.succeeds()).unwrap();
    let files: Vec<&str> =
        info["host"]["configFiles"].as_array().unwrap().iter().filter_map(|f| f.as_str()).collect();
    let ours: Vec<_> = files.iter().filter_map(|f| f.strip_prefix(containers.to_str().unwrap())).collect();
    assert_eq!(
        ours,
        [
            "/containers.conf",
            "/containers.conf.d/10.conf",
            "/containers.rootful.conf.d/20.conf",
            "/containers.conf.modules/one.conf"
        ]
    );
}

#[test]
fn lists_are_added_to_where_files_say_so() {
    let (world, image) = world_over_directory();
    let main = world.write("main.conf", says("\"A=1\", \"B=1\""));
    let more = world.write("more.conf", says("\"B=2\", {append=true}"));
    let instead = world.write("instead.conf", says("\"B=3\", {append=false}"));
    let of = |module: &str| {
        let mut command = world.command([
            "--module",
            module,
            "run",
            "--rm",
            "--network",
            "none",
            "--rootfs",
            &image,
            "sh",
            "-c",
            "echo $A$B",
        ]);
        run(command.env("CONTAINERS_CONF", &main), Patience::NORMAL).succeeds().to_owned()
    };
    assert_eq!((of(&more), of(&instead)), ("12".into(), "3".into()));
}

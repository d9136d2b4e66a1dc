//! Containers with a copy of all files of their image, where an overlay cannot keep changes. Other modules run with copies, too: see
//! `xtask test`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use loment_testkit::{Ids, Patience, World, run};

use crate::{fixtures, through, world};

/// A store on an overlay, as in a container of another engine: the kernel keeps no changes of another overlay there.
const PLACE: &str = r#"
    mount -t tmpfs tmpfs "$1"
    mkdir "$1/l" "$1/u" "$1/w" "$1/m"
    mount -t overlay -o "lowerdir=$1/l,upperdir=$1/u,workdir=$1/w" overlay "$1/m"
    chmod 777 "$1" "$1/m"
    image=$2 program=$3
    loment() { "$program" "$@"; }
"#;

/// What a script prints that has `loment` with such a store, and `$image`.
#[track_caller]
fn on_an_overlay(world: &World, script: &str) -> Vec<String> {
    let registry = fixtures().serve();
    let place = world.path("place");
    fs::create_dir(&place).unwrap();
    let bare = world.bare();
    let program = world.path("program");
    let words = [bare.get_program()].into_iter().chain(bare.get_args());
    let words: Vec<_> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let place = place.to_str().unwrap();
    let globals = format!("--root {place}/m/root --runroot {place}/m/run");
    fs::write(&program, format!("#!/bin/sh\nexec {} {globals} \"$@\"\n", words.join(" "))).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "--propagation", "private", "sh", "-ec", &[PLACE, script].concat(), "sh", place]);
    shell.arg(registry.name("busybox:latest")).arg(&program);
    let mut environment = Command::new("true");
    environment.envs(bare.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.env_clear().envs(environment.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = run(&mut shell, Patience::LONG);
    output.succeeds().lines().map(str::to_owned).collect()
}

const STORY: &str = r#"
    loment pull --quiet --tls-verify=false "$image" >/dev/null
    loment run --name first --network none "$image" sh -c 'rm /etc/group; mkdir -p /new/dir; echo one >/new/file; ls /bin/busybox'
    loment diff first
    loment commit --quiet first localhost/second >/dev/null
    loment run --rm --network none localhost/second sh -c 'cat /new/file; ls /etc/group 2>/dev/null || ls -d /etc/passwd'
    loment inspect --format '{{.Driver}} {{.GraphDriver.Name}}' first
    loment cp first:/new/file - | tar -xO
    loment run --rm --network none --mount type=image,source=localhost/second,destination=/other "$image" cat /other/new/file
    loment create --network none --name third "$image" true >/dev/null
    loment start --attach third
    loment system check
    loment rm first third >/dev/null
    loment rmi --all >/dev/null
    loment image prune --force
    ls "$1/m/root/layers" "$1/m/root/containers"
"#;

#[track_caller]
fn story(world: &World) {
    let said = on_an_overlay(world, STORY);
    let expected = [
        "/bin/busybox",
        "C /etc",
        "D /etc/group",
        "A /new",
        "A /new/dir",
        "A /new/file",
        "one",
        "/etc/passwd",
        "vfs vfs",
        "one",
        "one",
    ];
    assert_eq!(said[..expected.len()], expected, "{said:#?}");
    let place = world.path("place").join("m/root");
    let empty = ["layers", "containers"].map(|dir| format!("{}:", place.join(dir).display()));
    assert!(
        said.ends_with(&[empty[1].clone(), String::new(), empty[0].clone()]) || said.len() < 20,
        "{said:#?}"
    );
}

#[test]
fn a_store_on_an_overlay_has_containers_with_copies() {
    story(&world());
}

#[test]
fn an_ordinary_users_store_on_an_overlay_has_them_too() {
    for ids in [Ids::Many, Ids::One] {
        story(&World::of_user(Path::new(env!("CARGO_BIN_EXE_loment")), ids));
    }
}

#[test]
fn users_of_a_container_have_its_copy() {
    let script = r#"
        loment pull --quiet --tls-verify=false "$image" >/dev/null
        loment run --name c --network none --uidmap 0:100000:65536 "$image" sh -c 'stat -c %u /bin/busybox; touch /new; chown 7 /new'
        loment diff c
        loment commit --quiet c localhost/next >/dev/null
        loment run --rm --network none localhost/next stat -c %u /new
        stat -c %u "$1"/m/root/containers/*/upper/new
        loment export c | tar -tv --numeric-owner | grep -c ' 7/0 .* new$'
        path=$(loment image mount localhost/next); stat -c %u "$path/new"; loment image unmount localhost/next >/dev/null
    "#;
    assert_eq!(on_an_overlay(&world(), script), ["0", "A /new", "7", "100007", "1", "7"]);
}

#[test]
fn what_cannot_be_found_out_is_not_remembered() {
    let world = world();
    let remembered = || fs::read_to_string(world.runroot().join("layer-form")).unwrap_or_default();
    let info = world.command(["info", "--format", "{{.Store.GraphDriverName}}"]);
    let outer = ["setpriv", "--inh-caps", "-sys_admin", "--bounding-set", "-sys_admin"];
    let said = run(&mut through(&outer, &info), Patience::NORMAL);
    assert_eq!((said.succeeds(), remembered().as_str()), ("overlay", ""));
    assert_eq!(world.loment(["info", "--format", "{{.Store.GraphDriverName}}"]).succeeds(), "overlay");
    assert!(remembered().contains(char::is_alphanumeric), "{}", remembered());
}

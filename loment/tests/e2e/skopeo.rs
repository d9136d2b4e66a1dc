//! Images where they are: `image inspect` of places, `list-tags`, `delete`, `manifest-digest`, `sync`, `search`; and all of it
//! called as `skopeo`, beside the real one.

use std::io::BufRead;
use std::process::Command;

use loment_testkit::{Output, Patience, Registry, World, run};
use serde_json::Value;

use crate::{fixtures, world};

/// The real skopeo.
fn theirs(arguments: &[&str]) -> Output {
    run(Command::new("/usr/bin/skopeo").args(arguments), Patience::NORMAL)
}

/// Ours under its name.
fn ours(world: &World, arguments: &[&str]) -> Output {
    world.named("skopeo", arguments)
}

fn json(output: &Output) -> Value {
    serde_json::from_str(output.succeeds()).unwrap_or_else(|e| panic!("{e}\n{output}"))
}

/// A document of ours without what came with a later skopeo than Debian's.
fn older(output: &Output) -> Value {
    let mut document = json(output);
    document.as_object_mut().unwrap().remove("LayersData").unwrap();
    document
}

#[test]
fn skopeo_and_we_say_the_same_of_images() {
    let (world, registry) = (world(), fixtures().serve());
    for image in ["busybox:latest", "busybox:docker", "app:latest", "multi:latest"] {
        let place = format!("docker://{}", registry.name(image));
        let flags = ["inspect", "--tls-verify=false", &place];
        assert_eq!(older(&ours(&world, &flags)), json(&theirs(&flags)), "{image}");
        let raw = ["inspect", "--raw", "--tls-verify=false", &place];
        assert_eq!(ours(&world, &raw).succeeds(), theirs(&raw).succeeds(), "{image}");
        let raw = ["inspect", "--raw", "--config", "--tls-verify=false", &place];
        assert_eq!(ours(&world, &raw).succeeds(), theirs(&raw).succeeds(), "{image}");
        let one = ["inspect", "--tls-verify=false", "--format", "{{.Name}} {{.Digest}} {{.Os}}", &place];
        assert_eq!(ours(&world, &one).succeeds(), theirs(&one).succeeds(), "{image}");
    }
    let multi = format!("docker://{}", registry.name("multi:latest"));
    let arm = ["--override-arch", "arm64", "inspect", "--no-tags", "--tls-verify=false", &multi];
    assert_eq!(json(&ours(&world, &arm))["Architecture"], "arm64");
    assert_eq!(older(&ours(&world, &arm)), json(&theirs(&arm)));
    let tags = ["list-tags", "--tls-verify=false", &format!("docker://{}", registry.name("busybox"))];
    assert_eq!(ours(&world, &tags).succeeds(), theirs(&tags).succeeds());
    let dir = format!("dir:{}", world.path("dir").display());
    ours(&world, &["copy", "--quiet", "--src-tls-verify=false", &multi, &dir]).succeeds();
    assert_eq!(older(&ours(&world, &["inspect", &dir])), json(&theirs(&["inspect", &dir])));
    let manifest = world.path("dir").join("manifest.json").display().to_string();
    let digest = ["manifest-digest", manifest.as_str()];
    assert_eq!(ours(&world, &digest).succeeds(), theirs(&digest).succeeds());
    let oci = format!("oci:{}:x", world.path("oci").display());
    ours(&world, &["--insecure-policy", "copy", "--quiet", &dir, &oci]).succeeds();
    assert_eq!(older(&ours(&world, &["inspect", &oci])), json(&theirs(&["inspect", &oci])));
    // The same under our own name.
    let own = world.loment(["image", "inspect", "--raw", &dir]);
    assert_eq!(own.succeeds(), std::fs::read_to_string(&manifest).unwrap());
}

#[test]
fn skopeos_errors_are_fatal_lines_and_its_statuses() {
    let (world, registry) = (world(), fixtures().serve());
    let fatal = |arguments: &[&str], code: i32, words: &str| {
        let output = ours(&world, arguments);
        let text = output.fails(code);
        assert!(text.starts_with("time=\"20") && text.contains(" level=fatal msg=\""), "{output}");
        assert!(text.contains(words) && text.lines().count() == 1, "{output}");
    };
    fatal(&["frobnicate"], 1, "unrecognized command");
    fatal(&["inspect", "busybox"], 1, "begin with a transport");
    fatal(&["inspect", &format!("docker://{}", registry.name("busybox:nonesuch"))], 2, "nonesuch");
    fatal(&["inspect", "docker://127.0.0.1:9/x"], 1, "connection refused");
    fatal(&["list-tags", &format!("docker://{}", registry.name("busybox:latest"))], 1, "leave out the tag");
    fatal(&["manifest-digest", "/nonesuch"], 1, "/nonesuch");
    fatal(&["--nonesuch", "inspect", "docker://x"], 1, "unknown flag: --nonesuch");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("docker://{}/x", silent.local_addr().unwrap());
    fatal(&["--command-timeout", "100ms", "inspect", &place], 1, "--command-timeout");
    let version = ours(&world, &["--version"]);
    assert!(version.succeeds().starts_with("skopeo "), "{version}");
    let help = ours(&world, &["--help"]);
    assert!(help.succeeds().contains("list-tags") && !help.stdout.contains("container"), "{help}");
    let help = ours(&world, &["copy", "--help"]);
    assert!(help.succeeds().contains("Usage: skopeo copy "), "{help}");
}

#[test]
fn an_image_is_deleted_with_its_tags() {
    let (world, registry) = (world(), fixtures().serve_copy());
    let place = |tag: &str| format!("docker://{}", registry.name(&format!("busybox:{tag}")));
    world.loment(["image", "copy", "-q", &place("latest"), &place("again")]).succeeds();
    world.loment(["image", "delete", &place("again")]).succeeds();
    for tag in ["latest", "again"] {
        theirs(&["inspect", "--tls-verify=false", &place(tag)]).fails(1);
    }
    theirs(&["inspect", "--tls-verify=false", &place("zstd")]).succeeds();
    world.loment(["image", "delete", &place("again")]).fails(125);
    world
        .loment(["image", "delete", "dir:/x"])
        .fails_saying(125, &["Deleting images not implemented for dir: images"]);
}

/// What is below a directory, down to the manifests.
fn images_below(dir: &std::path::Path) -> Vec<String> {
    let mut find = Command::new("find");
    let output = run(find.arg(dir).args(["-name", "manifest.json", "-printf", "%P\n"]), Patience::NORMAL);
    let mut found: Vec<String> =
        output.succeeds().lines().map(|path| path.trim_end_matches("/manifest.json").to_owned()).collect();
    found.sort_unstable();
    found
}

#[test]
fn repositories_are_synced_as_skopeo_does() {
    let (world, from, to) = (world(), fixtures().serve(), Registry::empty());
    let repository = from.name("busybox");
    for scoped in [false, true] {
        let (mine, other) = (world.path(&format!("mine-{scoped}")), world.path(&format!("other-{scoped}")));
        std::fs::create_dir_all(&other).unwrap();
        let dirs = [mine.display().to_string(), other.display().to_string()];
        let flags = ["sync", "--src", "docker", "--dest", "dir", "--src-tls-verify=false"];
        let scope: &[&str] = if scoped { &["--scoped"] } else { &[] };
        let synced = ours(&world, &[&flags[..], scope, &[&repository, &dirs[0]]].concat());
        synced.succeeds();
        assert!(synced.stderr.ends_with("Synced 4 images\n"), "{synced}");
        theirs(&[&["--insecure-policy"][..], &flags, scope, &[&repository, &dirs[1]]].concat()).succeeds();
        assert_eq!(images_below(&mine), images_below(&other));
        assert_eq!(images_below(&mine).len(), 4);
        // What is there is not written over.
        ours(&world, &[&flags[..], scope, &[&repository, &dirs[0]]].concat()).fails(1);
    }
    // From the directories to a registry.
    let dir = world.path("mine-false").display().to_string();
    let target = to.name("mirror");
    let flags = ["image", "sync", "--src", "dir", "--dest", "docker"];
    let dry = world.loment([&flags[..], &["--dry-run", &dir, &target]].concat());
    assert!(dry.stderr.contains("Would have synced 4 images"), "{dry}");
    world.loment([&flags[..], &[&dir, &target]].concat()).succeeds();
    assert_eq!(to.digest_of("mirror/busybox", "zstd"), from.digest_of("busybox", "zstd"));
    // From one registry to another, one image and all of its platforms; what fails does not keep the rest.
    let all = ["image", "sync", "--src", "docker", "--dest", "docker", "--all", "--append-suffix=-x"];
    world.loment([&all[..], &[&from.name("multi:latest"), &target]].concat()).succeeds();
    assert_eq!(to.digest_of("mirror/multi", "latest-x"), from.digest_of("multi", "latest"));
    // In another format, and not if digests must stay.
    let one = ["image", "sync", "--src", "docker", "--dest", "docker", "--format", "v2s2"];
    let (image, other) = (from.name("busybox:latest"), to.name("other"));
    let kept = world.loment([&one[..], &["--preserve-digests", &image, &other]].concat());
    assert!(kept.code == 125 && !kept.stderr.contains("Synced"), "{kept}");
    world.loment([&one[..], &[&image, &other]].concat()).succeeds();
    assert!(to.manifest("other/busybox", "latest")["mediaType"].as_str().unwrap().contains("docker"));
    std::fs::write(world.path("mine-false/busybox:plain/manifest.json"), "{}").unwrap();
    let some = world.loment([&flags[..], &["--keep-going", "--scoped", &dir, &to.name("second")]].concat());
    some.fails(125);
    assert!(some.stderr.contains("1 of 4 images could not be copied"), "{some}");
    assert_eq!(to.digest_of("second/busybox", "docker"), from.digest_of("busybox", "docker"));
    world.loment(["image", "sync", "--src", "dir", "--dest", "dir", "a", "b"]).fails(125);
}

#[test]
fn repositories_are_searched_for() {
    let (world, registry) = (world(), fixtures().serve());
    let host = registry.host();
    let found = world.loment(["search", &format!("{host}/bus")]);
    let lines: Vec<_> = found.succeeds().lines().collect();
    assert!(lines[0].starts_with("NAME ") && lines[0].contains("DESCRIPTION"), "{found}");
    assert_eq!(lines[1..], [registry.name("busybox")]);
    let all =
        world.loment(["search", "--format", "{{.Index}} {{.Name}}", "--limit", "2", &format!("{host}/")]);
    assert_eq!(all.succeeds().lines().count(), 2, "{all}");
    let json = world.loment(["search", "--format", "json", &format!("{host}/app")]);
    assert!(json.succeeds().contains(&format!("\"Name\": \"{}\"", registry.name("app"))), "{json}");
    let none = world.loment(["search", "--filter", "stars=3", "--compatible", &format!("{host}/app")]);
    assert_eq!(none.succeeds().lines().count(), 1, "{none}");
    assert!(none.stdout.contains("STARS"), "{none}");
    let tags = world.loment(["search", "--list-tags", &registry.name("busybox")]);
    let mut lines: Vec<_> = tags.succeeds().lines().map(|l| l.split_whitespace().last().unwrap()).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["TAG", "docker", "latest", "plain", "zstd"]);
    world.loment(["search", "--filter", "colour=red", "x"]).fails_saying(125, &["stars=NUMBER"]);
    world.loment(["search", "127.0.0.1:9/x"]).fails_saying(125, &["connection refused"]);
}

/// What a registry is sent as `Authorization`, by the first request that has it. It answers nothing.
fn authorization(listener: &std::net::TcpListener) -> String {
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        let lines = std::io::BufReader::new(&stream).lines();
        let found = lines
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .find(|line| line.to_ascii_lowercase().starts_with("authorization: "));
        if let Some(line) = found {
            return line["authorization: ".len()..].to_owned();
        }
    }
    unreachable!("a listener listens on")
}

#[test]
fn each_side_of_a_copy_has_its_own_user_or_token() {
    let (world, from) = (world(), Registry::with_password(&fixtures().storage()));
    let (image, dir) = (from.name("busybox:latest"), world.path("dir").display().to_string());
    let (place, to) = (format!("docker://{image}"), format!("dir:{dir}"));
    let user = ["--src-username", "user", "--src-password", "secret"];
    let copy = |flags: &[&str]| ours(&world, &[&["copy", "--quiet"], flags, &[&place, &to]].concat());
    copy(&[]).fails(1);
    copy(&["--dest-username", "user", "--dest-password", "secret"]).fails(1);
    copy(&["--src-username", "user"]).fails(1);
    copy(&[&["--src-no-creds"], &user[..]].concat()).fails(1);
    copy(&user).succeeds();
    let all = world.path("all").display().to_string();
    let sync = [&["sync", "--src", "docker", "--dest", "dir"], &user[..], &[&image, &all]].concat();
    ours(&world, &sync).succeeds();
    assert_eq!(images_below(&world.path("all")), ["busybox:latest"]);
    // Tokens are sent as they are.
    for (flags, side) in [
        (vec!["inspect", "--raw", "--registry-token", "abc"], None),
        (vec!["copy", "--quiet", "--src-registry-token", "abc"], Some(&to)),
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let place = format!("docker://{}/x", listener.local_addr().unwrap());
        let seen = std::thread::spawn(move || authorization(&listener));
        let arguments = [flags, vec![&place], side.map(String::as_str).into_iter().collect()].concat();
        ours(&world, &arguments).fails(1);
        assert_eq!(seen.join().unwrap(), "Bearer abc", "{arguments:?}");
    }
}

#[test]
fn copies_are_tried_again_and_daemons_are_named() {
    let world = world();
    let to = format!("dir:{}", world.path("dir").display());
    let again = ours(&world, &["copy", "--quiet", "--retry-times", "1", "docker://127.0.0.1:9/x", &to]);
    assert_eq!(again.code, 1, "{again}");
    assert_eq!(again.stderr.matches("Trying again in 1s: ").count(), 1, "{again}");
    let daemon = ours(&world, &["inspect", "--daemon-host", "unix:///nonesuch", "docker-daemon:x:1"]);
    assert!(daemon.code == 1 && daemon.stderr.contains("/nonesuch"), "{daemon}");
    let daemon = ours(&world, &["inspect", "--daemon-host", "tcp://127.0.0.1:9", "docker-daemon:x:1"]);
    assert!(daemon.code == 1 && daemon.stderr.contains("only unix:///PATH is supported"), "{daemon}");
}

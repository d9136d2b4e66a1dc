//! policy.json: what may be used, asked before anything is fetched.

use std::process::Command;

use loment_testkit::{Patience, run, run_with_input};

use super::configure;
use crate::{fixtures, world};

const ACCEPT: &str = r#"[{"type":"insecureAcceptAnything"}]"#;
const REJECT: &str = r#"[{"type":"reject"}]"#;

#[test]
fn the_users_policy_decides_what_is_pulled_and_copied() {
    let world = world();
    let registry = fixtures().serve();
    let (name, other) = (registry.name("multi:latest"), registry.name("busybox:latest"));
    let text = format!(
        r#"{{"default": {REJECT}, "transports": {{"docker": {{"{}": {ACCEPT}}}}}}}"#,
        registry.name("multi")
    );
    let path = configure(&world, "policy.json", &text);
    world.loment(["pull", "--quiet", &name]).succeeds();
    let rejected = format!("Running image docker://{other} is rejected by policy ({path})");
    world.loment(["pull", "--quiet", &other]).fails_saying(125, &["Source image rejected: ", &rejected]);
    let run_it = ["run", "--rm", "--network", "none", &other, "true"];
    world.loment(run_it).fails_saying(125, &[&rejected]);
    let (from, to) = (world.path("from"), world.path("to"));
    let dir = |path: &std::path::Path| format!("dir:{}", path.display());
    let docker = |name: &str| format!("docker://{name}");
    world.loment(["image", "copy", "--quiet", &docker(&name), &dir(&from)]).succeeds();
    world.loment(["image", "copy", "--quiet", &docker(&other), &dir(&to)]).fails_saying(125, &[&rejected]);
    let onward = world.loment(["image", "copy", "--quiet", &dir(&from), &dir(&to)]);
    onward.fails_saying(125, &[&format!("Running image {} is rejected", dir(&from))]);
    // What is here may be sent: it was accepted when it came.
    world.loment(["push", "--quiet", &name, &dir(&to)]).succeeds();
    // Another policy for one command.
    let all = world.write("policy.json", format!(r#"{{"default": {ACCEPT}}}"#));
    world.loment(["pull", "--quiet", "--signature-policy", &all, &other]).succeeds();
    world
        .loment(["pull", "--quiet", "--signature-policy", "/nonesuch", &other])
        .fails_saying(125, &["read /nonesuch"]);
}

#[test]
fn what_is_loaded_or_imported_is_asked_about_like_what_is_pulled() {
    let world = world();
    let registry = fixtures().serve();
    let name = registry.name("busybox:latest");
    world.loment(["pull", "--quiet", &name]).succeeds();
    let (tar, oci, dir) = (world.path("a.tar"), world.path("b.tar"), world.path("c"));
    for (format, path) in [("docker-archive", &tar), ("oci-archive", &oci), ("oci-dir", &dir)] {
        world.loment(["save", "--quiet", "--format", format, "-o", path.to_str().unwrap(), &name]).succeeds();
    }
    world.loment(["rmi", &name]).succeeds();
    let path = configure(&world, "policy.json", &format!(r#"{{"default": {REJECT}}}"#));
    let said = format!("is rejected by policy ({path})");
    for (file, transport) in [(&tar, "docker-archive"), (&oci, "oci-archive"), (&dir, "oci")] {
        let image = format!("Running image {transport}:{}", file.display());
        let load = world.loment(["load", "--quiet", "-i", file.to_str().unwrap()]);
        load.fails_saying(125, &["Source image rejected: ", &image, &said]);
    }
    let bytes = std::fs::read(&tar).unwrap();
    let stream = run_with_input(&mut world.command(["load", "--quiet"]), &bytes, Patience::NORMAL);
    stream.fails_saying(125, &["docker-archive:standard input", &said]);
    let import = world.loment(["import", tar.to_str().unwrap()]);
    import.fails_saying(125, &["Running image tarball:", &said]);
    assert_eq!(world.loment(["images", "-aq"]).succeeds(), "");
    // A transport, a place, or a file for one command.
    let some = format!(
        r#"{{"default": {REJECT}, "transports": {{"docker-archive": {{"": {ACCEPT}}}, "oci": {{"{}": {ACCEPT}}}}}}}"#,
        world.dir().canonicalize().unwrap().display()
    );
    configure(&world, "policy.json", &some);
    world.loment(["load", "--quiet", "-i", tar.to_str().unwrap()]).succeeds();
    world.loment(["load", "--quiet", "-i", dir.to_str().unwrap()]).succeeds();
    world.loment(["load", "--quiet", "-i", oci.to_str().unwrap()]).fails_saying(125, &["is rejected"]);
    let all = world.write("policy.json", format!(r#"{{"default": {ACCEPT}}}"#));
    let with = ["load", "--quiet", "--signature-policy", &all, "-i", oci.to_str().unwrap()];
    world.loment(with).succeeds();
}

#[test]
fn a_policy_that_is_not_understood_accepts_nothing() {
    let world = world();
    let registry = fixtures().serve();
    let name = registry.name("multi:latest");
    for (text, said) in [
        ("{}".to_owned(), "default policy is missing"),
        (format!(r#"{{"default": {ACCEPT}, "extra": 1}}"#), "unknown key \"extra\""),
        (format!(r#"{{"default": {REJECT}, "default": {ACCEPT}}}"#), "duplicate key \"default\""),
    ] {
        let path = configure(&world, "policy.json", &text);
        world.loment(["pull", "--quiet", &name]).fails_saying(125, &[&path, said]);
    }
    let signed = r#"{"default": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/key"}]}"#;
    configure(&world, "policy.json", signed);
    let refused = world.loment(["pull", "--quiet", &name]);
    refused.fails_saying(125, &["requires signedBy of docker://", "signatures are not verified yet"]);
}

#[test]
fn as_skopeo_the_policy_is_chosen_before_the_command() {
    let world = world();
    let registry = fixtures().serve();
    configure(&world, "policy.json", &format!(r#"{{"default": {REJECT}}}"#));
    let all = world.write("policy.json", format!(r#"{{"default": {ACCEPT}}}"#));
    let (image, to) = (
        format!("docker://{}", registry.name("multi:latest")),
        format!("dir:{}", world.path("to").display()),
    );
    let with = |flags: &[&str]| world.named("skopeo", [flags, &["copy", "--quiet", &image, &to]].concat());
    with(&[]).fails_saying(1, &["is rejected by policy"]);
    with(&["--policy", &all]).succeeds();
    with(&["--insecure-policy"]).succeeds();
    let away = world.named(
        "skopeo",
        [
            "--insecure-policy",
            "sync",
            "--src",
            "docker",
            "--dest",
            "dir",
            "--scoped",
            &registry.name("multi:latest"),
            &world.path("all").display().to_string(),
        ],
    );
    away.succeeds();
    let looked = world.named("skopeo", ["inspect", "--raw", &image]);
    looked.succeeds();
}

#[test]
fn skopeo_decides_as_we_do() {
    let world = world();
    let registry = fixtures().serve();
    let host = registry.host();
    let docker = |scopes: &str| format!(r#"{{"default": {REJECT}, "transports": {{"docker": {scopes}}}}}"#);
    for text in [
        format!(r#"{{"default": {ACCEPT}}}"#),
        format!(r#"{{"default": {REJECT}}}"#),
        String::new(),
        "{}".into(),
        "[]".into(),
        r#"{"default": []}"#.into(),
        r#"{"default": [{}]}"#.into(),
        r#"{"default": [{"type": "Reject"}]}"#.into(),
        format!(r#"{{"default": {ACCEPT}, "more": []}}"#),
        format!(r#"{{"default": {ACCEPT}, "transports": {{}}}}"#),
        format!(r#"{{"default": {ACCEPT}, "default": {ACCEPT}}}"#),
        format!(r#"{{"default": {ACCEPT}}} {{}}"#),
        r#"{"default": [{"type": "insecureAcceptAnything", "x": 1}]}"#.into(),
        r#"{"default": [{"type": "insecureAcceptAnything"}, {"type": "reject"}]}"#.into(),
        r#"{"default": [{"type": "insecureAcceptAnything", "type": "insecureAcceptAnything"}]}"#.into(),
        docker(&format!(r#"{{"{host}/multi:latest": {ACCEPT}}}"#)),
        docker(&format!(r#"{{"{host}/multi:other": {ACCEPT}}}"#)),
        docker(&format!(r#"{{"{host}/multi": {ACCEPT}}}"#)),
        docker(&format!(r#"{{"{host}/mult": {ACCEPT}}}"#)),
        docker(&format!(r#"{{"{host}": {ACCEPT}}}"#)),
        docker(&format!(r#"{{"{host}": {ACCEPT}, "{host}/multi": {REJECT}}}"#)),
        docker(&format!(r#"{{"127.0.0.1": {ACCEPT}}}"#)),
        docker(&format!(r#"{{"*.0.0.1": {ACCEPT}}}"#)),
        docker(&format!(r#"{{"*.1": {ACCEPT}}}"#)),
        docker(&format!(r#"{{"": {ACCEPT}}}"#)),
        docker(&format!(r#"{{"": {ACCEPT}, "": {ACCEPT}}}"#)),
        docker(r#"{"": []}"#),
        docker("[]"),
        format!(r#"{{"default": {REJECT}, "transports": {{"dir": {{"": {ACCEPT}}}}}}}"#),
        format!(r#"{{"default": {ACCEPT}, "transports": {{"dir": {{"relative": {ACCEPT}}}}}}}"#),
        format!(r#"{{"default": {ACCEPT}, "transports": {{"dir": {{"/": {ACCEPT}}}}}}}"#),
        format!(r#"{{"default": {ACCEPT}, "transports": {{"oci": {{"/a/../b": {ACCEPT}}}}}}}"#),
        format!(r#"{{"default": {ACCEPT}, "transports": {{"docker-archive": {{"/a": {ACCEPT}}}}}}}"#),
        format!(r#"{{"default": {ACCEPT}, "transports": {{"unheard-of": {{"/a": {ACCEPT}}}}}}}"#),
        r#"{"default": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/nonesuch"}]}"#.into(),
        r#"{"default": [{"type": "signedBy", "keyType": "none", "keyPath": "/nonesuch"}]}"#.into(),
        r#"{"default": [{"type": "sigstoreSigned", "keyPath": "/nonesuch"}]}"#.into(),
    ] {
        let policy = world.write("policy.json", &text);
        let (theirs, ours) = (world.path("theirs"), world.path("ours"));
        let image = format!("docker://{}", registry.name("multi:latest"));
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--policy", &policy, "copy", "--quiet", "--src-tls-verify=false", &image]);
        skopeo.arg(format!("dir:{}", theirs.display()));
        let accepted = run(&mut skopeo, Patience::NORMAL).code == 0;
        let copied = world.loment([
            "image",
            "copy",
            "--quiet",
            "--policy",
            &policy,
            &image,
            &format!("dir:{}", ours.display()),
        ]);
        assert_eq!(copied.code == 0, accepted, "{text}: {copied}");
        for path in [theirs, ours] {
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

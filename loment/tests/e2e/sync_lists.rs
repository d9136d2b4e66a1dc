//! `image sync --src yaml`, beside skopeo's.

use std::path::Path;
use std::process::Command;

use loment_testkit::{Output, Patience, Registry, World, run};

use crate::{fixtures, world};

fn skopeo(arguments: &[&str]) -> Output {
    run(Command::new("/usr/bin/skopeo").arg("--insecure-policy").args(arguments), Patience::NORMAL)
}

/// Files below a directory, by name, with their digests: of images in directories all is told by names but manifests.
fn content(dir: &Path) -> Vec<String> {
    let mut find = Command::new("find");
    let files = run(find.current_dir(dir).args([".", "-type", "f"]), Patience::NORMAL);
    let mut content: Vec<String> = Vec::new();
    for file in files.succeeds().lines() {
        let bytes = std::fs::read(dir.join(file)).unwrap();
        content.push(format!("{file} {}", loment_testkit::digest(&bytes)));
    }
    content.sort_unstable();
    content
}

/// Images below a directory.
fn images(dir: &Path) -> Vec<String> {
    let content = content(dir);
    let name = |line: &String| Some(line.strip_prefix("./")?.split_once("/manifest.json")?.0.to_owned());
    content.iter().filter_map(name).collect()
}

fn ours(world: &World, flags: &[&str], list: &str, to: &Path) -> Output {
    let to = to.display().to_string();
    world.loment([&["image", "sync", "--src", "yaml", "--dest", "dir"], flags, &[list, &to]].concat())
}

#[test]
fn lists_are_synced_as_skopeo_does() {
    let (world, registry) = (world(), fixtures().serve());
    let other = Registry::with_password(&fixtures().storage());
    let digest = registry.digest_of("busybox", "plain");
    let text = format!(
        "\"{}\":\n  tls-verify: false\n  images:\n    busybox: [latest, docker, '{digest}']\n    app: []\n    foreign: null\n  \
         images-by-tag-regex:\n    multi: ^d\\w+r$\n    tree: nothing\n\"{}\":\n  tls-verify: false\n  credentials: \
         {{username: user, password: secret}}\n  images-by-tag-regex:\n    busybox: z\n",
        registry.host(),
        other.host(),
    );
    let list = world.write("list.yml", &text);
    for scoped in [false, true] {
        let (mine, theirs) = (world.path(&format!("mine-{scoped}")), world.path(&format!("theirs-{scoped}")));
        std::fs::create_dir_all(&theirs).unwrap();
        // All platforms of some need more than skopeo's own choice on a machine that is none of them.
        let flags: &[&str] = if scoped { &["--all", "--scoped"] } else { &["--all"] };
        let synced = ours(&world, flags, &list, &mine);
        synced.succeeds();
        assert!(
            synced.stderr.contains("no images to sync found in") && synced.stderr.contains("/tree"),
            "{synced}"
        );
        assert!(synced.stderr.ends_with("Synced 7 images\n"), "{synced}");
        let to = theirs.display().to_string();
        skopeo(&[&["sync", "--src", "yaml", "--dest", "dir"], flags, &[&list, &to]].concat()).succeeds();
        assert_eq!(content(&mine), content(&theirs));
        assert_eq!(images(&mine).len(), 7, "{:?}", images(&mine));
    }
    // To a registry, whatever the tags there are called.
    let to = Registry::empty();
    let flags = ["image", "sync", "--src", "yaml", "--dest", "docker", "--all", "--append-suffix=-x"];
    world.loment([&flags[..], &[&list, &to.name("mirror")]].concat()).succeeds();
    assert_eq!(to.digest_of("mirror/multi", "docker-x"), registry.digest_of("multi", "docker"));
    assert_eq!(to.digest_of("mirror/busybox", "zstd-x"), registry.digest_of("busybox", "zstd"));
    let place = format!("docker://{}", to.name(&format!("mirror/busybox@{digest}")));
    skopeo(&["inspect", "--tls-verify=false", "--raw", &place]).succeeds();
}

#[test]
fn tags_are_chosen_by_versions() {
    // Debian's skopeo knows no images-by-semver yet, and passes over it: what is in a range is Masterminds' own word, by the unit tests.
    let (world, registry) = (world(), fixtures().serve_copy());
    let source = format!("docker://{}", registry.name("busybox:latest"));
    for tag in ["1.0", "v1.2.3", "1.3.0-rc.1", "2.0.0", "2.1-alpine"] {
        let to = format!("docker://{}", registry.name(&format!("busybox:{tag}")));
        let tls = ["--src-tls-verify=false", "--dest-tls-verify=false"];
        skopeo(&[&["copy", "--quiet"], &tls[..], &[&source, &to]].concat()).succeeds();
    }
    for (range, tags) in [
        (">= 1.0, < 2", &["busybox:1.0", "busybox:v1.2.3"][..]),
        ("~1.2 || 2.x", &["busybox:2.0.0", "busybox:v1.2.3"]),
        (">1.2.9-0", &["busybox:1.3.0-rc.1", "busybox:2.0.0", "busybox:2.1-alpine"]),
        ("^3", &[]),
    ] {
        let text = format!("\"{}\":\n  images-by-semver:\n    busybox: \"{range}\"\n", registry.host());
        let list = world.write("list.yml", &text);
        let to = world.path("to");
        std::fs::create_dir_all(&to).unwrap();
        ours(&world, &[], &list, &to).succeeds();
        assert_eq!(images(&to), tags, "{range}");
        std::fs::remove_dir_all(&to).unwrap();
    }
}

#[test]
fn what_is_wrong_with_a_list_is_said_before_anything_is_copied() {
    let (world, registry) = (world(), fixtures().serve());
    let host = registry.host();
    let to = world.path("to");
    for (text, words) in [
        (
            format!("\"{host}\":\n  images:\n    busybox: [latest]\n  image: {{}}\n"),
            &["line 4", "unknown key \"image\""][..],
        ),
        (format!("\"{host}\":\n  images:\n    busybox: [latest]\n    app: [\n"), &["line "]),
        (
            format!("\"{host}\":\n  images: {{busybox: [latest]}}\n  images-by-semver: {{app: new}}\n"),
            &["line 3", "improper constraint"],
        ),
    ] {
        let list = world.write("list.yml", &text);
        let failed = ours(&world, &[], &list, &to);
        failed.fails_saying(125, &[&[list.as_str()][..], words].concat());
    }
    ours(&world, &[], "/nonesuch.yml", &to).fails_saying(125, &["/nonesuch.yml", "no such file"]);
    assert!(!to.exists());
    let nothing = world.write("nothing.yml", format!("\"{host}\":\n"));
    let warned = ours(&world, &[], &nothing, &to);
    warned.succeeds();
    assert!(warned.stderr.contains(&format!("no images of {host} are listed")), "{warned}");
    // A registry that does not answer stops it, or only itself.
    let two =
        format!("\"127.0.0.1:9\":\n  images: {{x: []}}\n\"{host}\":\n  images: {{busybox: [latest]}}\n");
    let two = world.write("two.yml", &two);
    ours(&world, &[], &two, &to).fails_saying(125, &["connection refused"]);
    assert!(!to.exists());
    let some = ours(&world, &["--keep-going"], &two, &to);
    some.fails(125);
    assert!(some.stderr.contains("repositories whose tags could not be listed: 1"), "{some}");
    assert_eq!(images(&to), ["busybox:latest"]);
    // What is said on the command line for one is not shown to several.
    let creds = ours(&world, &["--src-creds", "user:secret"], &two, &to);
    creds.fails_saying(125, &["127.0.0.1:9", "into the list"]);
    let dest = ["image", "sync", "--src", "docker", "--dest", "yaml", "a", "b"];
    let dest = world.loment(dest);
    assert!(dest.code == 125 && dest.stderr.contains("invalid value 'yaml' for '--dest <KIND>'"), "{dest}");
}

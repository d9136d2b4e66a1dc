//! `manifest`: lists of images for several platforms, made here.

use std::process::Command;

use loment_testkit::{Output, Patience, Registry, World, run};
use serde_json::Value;

use crate::{fixtures, sh, world};

#[track_caller]
fn list(world: &World, arguments: &[&str]) -> Output {
    let output = world.loment([&["manifest"], arguments].concat());
    output.succeeds();
    output
}

#[track_caller]
fn document(world: &World, name: &str) -> Value {
    serde_json::from_str(list(world, &["inspect", name]).succeeds()).unwrap()
}

/// The platforms of a list, in its order.
fn platforms(document: &Value) -> Vec<String> {
    let entries = document["manifests"].as_array().unwrap();
    let text = |entry: &Value, key: &str| entry["platform"][key].as_str().unwrap_or_default().to_owned();
    entries.iter().map(|entry| format!("{}/{}", text(entry, "os"), text(entry, "architecture"))).collect()
}

#[test]
fn a_list_is_made_shown_pushed_and_run() {
    let (world, registry) = (world(), fixtures().serve_copy());
    let (ours, theirs) = (registry.name("busybox:latest"), registry.name("foreign:latest"));
    world.loment(["pull", "--quiet", &ours]).succeeds();
    let id = world.inspect("{{.Id}}", &ours);
    let made = list(&world, &["create", "--annotation", "a=b", "team/list:1", &ours]);
    assert_eq!(made.succeeds().len(), 64);
    // The other one is described without being pulled.
    list(&world, &["add", "--annotation", "c=d", "team/list:1", &format!("docker://{theirs}")]);
    assert_eq!(world.loment(["images", "-q", "--filter", "manifest=false"]).succeeds().lines().count(), 1);
    let shown = document(&world, "team/list:1");
    assert_eq!(platforms(&shown), ["linux/amd64", "linux/s390x"]);
    assert_eq!(shown["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(
        (&shown["annotations"]["a"], &shown["manifests"][1]["annotations"]["c"]),
        (&"b".into(), &"d".into())
    );
    let digest = registry.digest_of("foreign", "latest");
    assert_eq!(shown["manifests"][1]["digest"], digest.as_str());
    // A container of it is one of the image for this machine.
    assert_eq!(world.inspect("{{.Id}}", "team/list:1"), id);
    assert_eq!(sh(&world, &[], "team/list:1", "echo ran"), "ran");
    // skopeo sees the same in the registry, with all images.
    let target = registry.name("team/pushed:1");
    let file = world.write("digest", "");
    list(&world, &["push", "--quiet", "--digestfile", &file, "team/list:1", &format!("docker://{target}")]);
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{target}")]);
    let pushed: Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(platforms(&pushed), ["linux/amd64", "linux/s390x"]);
    let all = format!("dir:{}", world.path("all").display());
    skopeo(&["copy", "--quiet", "--all", "--src-tls-verify=false", &format!("docker://{target}"), &all]);
    let theirs =
        skopeo(&["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &format!("docker://{target}")]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), theirs);
    world.loment(["rmi", "--all"]).succeeds();
    world.loment(["pull", "--quiet", &target]).succeeds();
    assert_eq!(world.inspect("{{.Id}}", &target), id);
}

#[track_caller]
fn skopeo(arguments: &[&str]) -> String {
    let mut skopeo = Command::new("skopeo");
    run(skopeo.arg("--insecure-policy").args(arguments), Patience::NORMAL).succeeds().to_owned()
}

#[test]
fn entries_are_chosen_changed_and_removed() {
    let (world, registry) = (world(), fixtures().serve());
    let multi = registry.name("multi:docker");
    list(&world, &["create", "x"]);
    assert_eq!(world.loment(["manifest", "exists", "x"]).code, 0);
    assert_eq!(world.loment(["manifest", "exists", "y"]).code, 1);
    let one = [
        "add",
        "--arch",
        "arm64",
        "--variant",
        "v8",
        "--os-version",
        "1.2",
        "--features",
        "a,b",
        "x",
        &multi,
    ];
    list(&world, &one);
    let shown = document(&world, "x");
    let platform = &shown["manifests"][0]["platform"];
    assert_eq!((&platform["architecture"], &platform["variant"]), (&"arm64".into(), &"v8".into()));
    assert_eq!((&platform["os.version"], &platform["features"][1]), (&"1.2".into(), &"b".into()));
    list(&world, &["add", "--all", "x", &multi]);
    let shown = document(&world, "x");
    let mut found = platforms(&shown);
    found.sort_unstable();
    assert_eq!(found, ["linux/amd64", "linux/arm64", "linux/s390x"]);
    let digest = shown["manifests"][0]["digest"].as_str().unwrap().to_owned();
    list(&world, &["annotate", "--os", "plan9", "--annotation", "k=v", "--os-features", "f", "x", &digest]);
    let entry = document(&world, "x")["manifests"][0].clone();
    assert_eq!((&entry["platform"]["os"], &entry["annotations"]["k"]), (&"plan9".into(), &"v".into()));
    assert_eq!(entry["platform"]["os.features"][0], "f");
    list(&world, &["annotate", "--index", "--annotation", "whole=list", "x"]);
    assert_eq!(document(&world, "x")["annotations"]["whole"], "list");
    list(&world, &["remove", "x", &digest]);
    assert_eq!(document(&world, "x")["manifests"].as_array().unwrap().len(), 2);
    let none = world.loment(["manifest", "remove", "x", &digest]);
    none.fails_saying(125, &[&digest, "no instance on the list"]);
    // A list of another list.
    list(&world, &["create", "--all", "copy", "x"]);
    assert_eq!(platforms(&document(&world, "copy")), platforms(&document(&world, "x")));
    let again = world.loment(["manifest", "create", "x"]);
    again.fails_saying(125, &["there is a list of that name: use --amend"]);
    list(&world, &["create", "--amend", "--annotation", "more=1", "x"]);
    assert_eq!(document(&world, "x")["annotations"]["more"], "1");
    world.loment(["manifest", "add", "nonesuch", &multi]).fails_saying(125, &["nonesuch: image not known"]);
    // What the registry has can be looked at, too.
    assert_eq!(platforms(&document(&world, &multi)).len(), 3);
}

/// The lines of `images --tree` below that of a name, and that one before them: what it is, its sizes, whether it is in use.
#[track_caller]
fn tree_of(output: &Output, name: &str) -> Vec<Vec<String>> {
    let words = |line: &str| {
        let line = line.trim_start_matches(['├', '└', '─', ' ']);
        line.split("   ")
            .map(|word| word.trim().to_owned())
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
    };
    let mut lines = output.stdout.lines().skip_while(|line| !line.starts_with(&format!("{name} ")));
    let first = lines.next().unwrap_or_else(|| panic!("{name} is not in {output}"));
    let below = lines.take_while(|line| line.starts_with(['├', '└']));
    [first].into_iter().chain(below).map(words).collect()
}

#[test]
fn a_tree_shows_the_platforms_of_images_and_which_are_here() {
    let (world, registry) = (world(), fixtures().serve());
    let (plain, multi) = (registry.name("busybox:latest"), registry.name("multi:latest"));
    for image in [&plain, &multi] {
        world.loment(["pull", "--quiet", image]).succeeds();
    }
    list(&world, &["create", "--all", "team/list:1", &format!("docker://{multi}")]);
    let tree = world.loment(["images", "--tree"]);
    let heading = tree.succeeds().lines().next().unwrap();
    let titles = ["IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "EXTRA"];
    assert_eq!(heading.split("  ").map(str::trim).filter(|t| !t.is_empty()).collect::<Vec<_>>(), titles);
    let id = |name: &str| world.inspect("{{.Id}}", name)[..12].to_owned();
    let own = tree_of(&tree, &plain);
    assert_eq!((own.len(), own[0][1].as_str(), own[1][0].as_str()), (2, id(&plain).as_str(), "linux/amd64"));
    assert_eq!(own[1][1], world.inspect("{{.Digest}}", &plain)["sha256:".len()..][..12]);
    assert_eq!(own[0][2..], own[1][2..]);
    // Of an index, all that it has for some platform: one is here.
    for name in [multi.as_str(), "docker.io/team/list:1"] {
        let all = tree_of(&tree, name);
        let platforms: Vec<_> = all[1..].iter().map(|line| line[0].as_str()).collect();
        assert_eq!(platforms, ["linux/arm64", "linux/amd64", "linux/s390x"], "{tree}");
        let here: Vec<_> = all[1..].iter().map(|line| line[3] != "0B").collect();
        assert_eq!(here, [false, true, false], "{tree}");
        assert_eq!(all[0][3], all[2][3], "{tree}");
    }
    // What containers have is marked; Docker's names are short.
    world.loment(["create", "--network", "none", &multi, "true"]).succeeds();
    let tree = world.persona("docker", ["images", "--tree", &multi]);
    assert_eq!(tree.succeeds().lines().filter(|line| line.ends_with(" U")).count(), 2, "{tree}");
    assert!(!tree.stdout.contains(&plain), "{tree}");
    let both = world.loment(["images", "--tree", "--quiet"]);
    assert!(both.code == 125 && both.stderr.contains("cannot be set together"), "{both}");
}

#[test]
fn a_list_keeps_its_images_and_gives_them_up() {
    let (world, registry) = (world(), fixtures().serve());
    let image = registry.name("busybox:latest");
    world.loment(["pull", "--quiet", &image]).succeeds();
    list(&world, &["create", "kept", &image]);
    world.loment(["tag", "kept", "also:1"]).succeeds();
    let listed =
        world.loment(["images", "--filter", "manifest=true", "--format", "{{.Repository}}:{{.Tag}}"]);
    let mut listed: Vec<_> = listed.succeeds().lines().collect();
    listed.sort_unstable();
    assert_eq!(listed, ["docker.io/library/also:1", "docker.io/library/kept:latest"]);
    let json = world.loment(["images", "--filter", "manifest=true", "--format", "json"]);
    assert!(json.succeeds().contains("\"IsManifestList\": true"), "{json}");
    // The image's own name goes, and a sweep takes nothing of it.
    world.loment(["rmi", &image]).succeeds();
    assert_eq!(sh(&world, &[], "kept", "echo still"), "still");
    // A change is seen through every name.
    list(&world, &["annotate", "--index", "--annotation", "n=1", "also:1"]);
    assert_eq!(document(&world, "kept")["annotations"]["n"], "1");
    let removed = list(&world, &["rm", "kept"]);
    assert_eq!(removed.succeeds(), "Untagged: docker.io/library/kept:latest");
    world.loment(["rmi", &world.inspect("{{.Id}}", "also:1")]).succeeds();
    let last = world.loment(["rmi", "also:1"]);
    assert!(last.succeeds().contains("Untagged: docker.io/library/also:1\nDeleted: "), "{last}");
    assert_eq!(std::fs::read_dir(world.root().join("layers")).unwrap().count(), 0);
    world.loment(["manifest", "rm", "kept"]).fails_saying(1, &["kept: image not known"]);
    assert_eq!(world.loment(["manifest", "rm", "--ignore", "kept"]).succeeds(), "");
}

#[test]
fn an_image_that_is_elsewhere_is_named() {
    let (world, registry) = (world(), fixtures().serve());
    let image = registry.name("busybox:latest");
    list(&world, &["create", "far", &format!("docker://{image}")]);
    let digest = registry.digest_of("busybox", "latest");
    let pull = format!("pull {}@{digest}", registry.name("busybox"));
    world.loment(["run", "far", "true"]).fails_saying(125, &["linux/amd64 is not here", &pull]);
    list(&world, &["create", "none"]);
    world.loment(["inspect", "none"]).fails_saying(125, &["its list has none for linux/amd64"]);
    world.loment(["image", "prune", "--all", "--force"]).succeeds();
    assert_eq!(world.loment(["images", "-q"]).succeeds(), "");
}

#[test]
fn a_list_whose_name_a_pull_takes_stays_without_one() {
    let (world, registry) = (world(), fixtures().serve());
    let (image, other) = (registry.name("busybox:latest"), registry.name("app:latest"));
    world.loment(["pull", "--quiet", &other]).succeeds();
    let member = world.inspect("{{.Id}}", &other);
    // The list is called what the registry has an image under.
    let id = list(&world, &["create", &image, &other]).succeeds().to_owned();
    world.loment(["rmi", &other]).succeeds();
    world.loment(["pull", "--quiet", &image]).succeeds();
    assert_ne!(world.inspect("{{.Id}}", &image), member);
    let nameless = |world: &World| {
        let shown = ["images", "--filter", "manifest=true", "--no-trunc", "--format"];
        let shown = world.loment([&shown[..], &["{{.Repository}}:{{.Tag}} {{.ID}}"]].concat());
        shown.succeeds().to_owned()
    };
    assert_eq!(nameless(&world), format!("<none>:<none> sha256:{id}"));
    // Its image is there and runs, by the beginning of its id.
    assert_eq!(world.inspect("{{.Id}}", &id[..12]), member);
    assert_eq!(sh(&world, &["--entrypoint", ""], &id[..12], "echo ran"), "ran");
    // It can be changed, and has another id then; it can be called something again.
    let changed = list(&world, &["annotate", "--index", "--annotation", "a=b", &id]).succeeds().to_owned();
    assert_eq!(nameless(&world), format!("<none>:<none> sha256:{changed}"));
    world.loment(["tag", &changed, "again:1"]).succeeds();
    assert_eq!(nameless(&world), format!("docker.io/library/again:1 sha256:{changed}"));
    assert_eq!(document(&world, "again:1")["annotations"]["a"], "b");
    // To take all its names away is no removal.
    world.loment(["untag", "again:1"]).succeeds();
    assert_eq!(nameless(&world), format!("<none>:<none> sha256:{changed}"));
    assert_eq!(world.inspect("{{.Id}}", &changed), member);
    let removed = list(&world, &["rm", &changed]);
    assert_eq!(removed.succeeds(), format!("Deleted: {changed}"));
    assert_eq!(nameless(&world), "");
    // What nobody names is pruned like an image.
    list(&world, &["create", "pruned"]);
    world.loment(["untag", "pruned"]).succeeds();
    world.loment(["image", "prune", "--force"]).succeeds();
    assert_eq!(nameless(&world), "");
    assert!(world.loment(["system", "check", "--quick"]).succeeds().is_empty());
}

#[test]
fn of_a_list_the_platform_that_is_asked_for_is_run_and_copied() {
    let (world, registry) = (world(), fixtures().serve());
    let multi = registry.name("multi:latest");
    world.loment(["pull", "--quiet", &multi]).succeeds();
    let here = world.inspect("{{.Id}}", &multi);
    world.loment(["pull", "--quiet", "--platform", "linux/arm64/v8", &multi]).succeeds();
    let arm = world.inspect("{{.Id}}", &multi);
    list(&world, &["create", "both", &here]);
    list(&world, &["add", "both", &arm]);
    drop(registry);
    for (flags, id) in [(vec![], &here), (vec!["--platform", "linux/arm64/v8"], &arm)] {
        let create = [&["create", "--network", "none"][..], &flags, &["both", "true"]].concat();
        let container = world.loment(create).succeeds().to_owned();
        assert_eq!(world.inspect("{{.Image}}", &container), *id, "{flags:?}");
        let dir = format!("dir:{}", world.dir().join("copied").display());
        let copy = [&["image", "copy", "--quiet"][..], &flags, &["containers-storage:both", &dir]].concat();
        world.loment(copy).succeeds();
        let manifest: Value = serde_json::from_str(&skopeo(&["inspect", "--raw", &dir])).unwrap();
        assert_eq!(manifest["config"]["digest"], format!("sha256:{id}"), "{flags:?}");
    }
    let none = world.loment(["create", "--platform", "linux/s390x", "both", "true"]);
    none.fails_saying(125, &["its list has none for linux/s390x"]);
}

#[test]
fn the_beginning_of_several_ids_means_none_of_them() {
    let world = world();
    let mut ids = Vec::new();
    for n in 0..17 {
        let name = format!("l{n}");
        ids.push(list(&world, &["create", "--annotation", &format!("n={n}"), &name]).succeeds().to_owned());
    }
    // Of seventeen, two have the same first digit.
    let first = |id: &String| id[..1].to_owned();
    let shared = ids.iter().map(first).find(|d| ids.iter().filter(|id| id.starts_with(d)).count() > 1);
    let shared = shared.unwrap();
    for command in [&["manifest", "inspect"][..], &["manifest", "rm"], &["rmi"], &["inspect"], &["run"]] {
        let refused = world.loment([command, &[&shared]].concat());
        assert_ne!(refused.code, 0);
        assert!(
            refused.stderr.contains("more than one image id starts with this, use more digits"),
            "{refused}"
        );
    }
    assert_eq!(world.loment(["images", "-q"]).succeeds().lines().count(), 17);
}

#[test]
fn of_changes_at_once_none_is_lost_in_silence() {
    let world = world();
    list(&world, &["create", "x"]);
    let annotate = |n: usize| {
        world
            .command(["manifest", "annotate", "--index", "--annotation", &format!("n{n}=1"), "x"])
            .output()
            .unwrap()
    };
    let done: Vec<bool> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|n| scope.spawn(move || annotate(n).status.success())).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let shown = document(&world, "x");
    for (n, done) in done.into_iter().enumerate() {
        assert_eq!(shown["annotations"].get(format!("n{n}")).is_some(), done, "{n}: {shown}");
    }
}

#[test]
fn credentials_for_where_a_list_goes_are_not_shown_to_where_its_images_are() {
    let (world, open) = (world(), Registry::empty());
    let guarded = Registry::with_password(&fixtures().storage());
    let image = format!("docker://{}", guarded.name("busybox:latest"));
    list(&world, &["create", "x"]);
    list(&world, &["add", "--creds", "user:secret", "x", &image]);
    let target = format!("docker://{}", open.name("team/x:1"));
    // The other registry would take them, if it saw them.
    let push = ["manifest", "push", "--quiet", "--creds", "user:secret", "x", &target];
    world.loment(push).fails_saying(125, &["unauthorized", &guarded.host()]);
    let file = world.path("auth.json").display().to_string();
    let host = guarded.host();
    world.loment(["login", "-u", "user", "-p", "secret", "--authfile", &file, &host]).succeeds();
    list(&world, &["push", "--quiet", "--authfile", &file, "--creds", "other:password", "x", &target]);
    // Of one host they are for both.
    let same = format!("docker://{}", guarded.name("team/x:1"));
    let refused = world.loment(["manifest", "push", "--quiet", "--creds", "user:secret", "x", &same]);
    assert!(refused.code == 125 && !refused.stderr.contains("unauthorized"), "{refused}");
}

/// What a registry's repository shows under a tag, which skopeo reads, too.
#[track_caller]
fn raw(place: &str) -> Value {
    let mut skopeo = Command::new("/usr/bin/skopeo");
    let output = run(skopeo.args(["inspect", "--raw", "--tls-verify=false", place]), Patience::NORMAL);
    serde_json::from_str(output.succeeds()).unwrap()
}

#[test]
fn a_list_is_pushed_with_each_image_in_another_compression_too() {
    let (world, registry) = (world(), fixtures().serve_copy());
    let (ours, theirs) = (registry.name("busybox:latest"), registry.name("foreign:latest"));
    world.loment(["pull", "--quiet", &ours]).succeeds();
    list(&world, &["create", "l:1", &ours, &format!("docker://{theirs}")]);
    let there = format!("docker://{}", registry.name("both:1"));
    let push = |flags: &[&str]| world.loment([&["manifest", "push", "-q"], flags, &["l:1", &there]].concat());
    push(&["--add-compression", "zstd"]).succeeds();
    let pushed = raw(&there);
    assert_eq!(platforms(&pushed), ["linux/amd64", "linux/s390x", "linux/amd64", "linux/s390x"]);
    let mark = "io.github.containers.compression.zstd";
    for (at, end) in ["gzip", "gzip", "zstd", "zstd"].into_iter().enumerate() {
        let entry = &pushed["manifests"][at];
        let expected = if end == "zstd" { Value::from("true") } else { Value::Null };
        assert_eq!(entry["annotations"][mark], expected, "{pushed}");
        let digest = entry["digest"].as_str().unwrap();
        let manifest = raw(&format!("docker://{}@{digest}", registry.name("both")));
        let layers = manifest["layers"].as_array().unwrap();
        assert!(layers.iter().all(|layer| layer["mediaType"].as_str().unwrap().ends_with(end)), "{manifest}");
    }
    // What has it already gets no other.
    push(&["--add-compression", "gzip,zstd", "--add-compression", "zstd"]).succeeds();
    assert_eq!(raw(&there)["manifests"].as_array().unwrap().len(), 4);
    // It is an index like any other: an image of it is pulled, here and by its platform.
    world.loment(["pull", "-q", &registry.name("both:1")]).succeeds();
    assert_eq!(world.inspect("{{.Id}}", &registry.name("both:1")), world.inspect("{{.Id}}", &ours));
    push(&["--add-compression", "zstd", "--format", "v2s2"]).fails_saying(125, &["in the format oci"]);
    push(&["--add-compression", "zstd", "--all=false"]).fails_saying(125, &["where all are pushed"]);
    push(&["--add-compression", "lzma"]).fails(125);
}

#[test]
fn docker_shows_the_manifests_of_a_list_and_calls_registries_insecure() {
    let (world, registry) = (world(), fixtures().serve_copy());
    let (ours, theirs) = (registry.name("busybox:latest"), registry.name("busybox:docker"));
    world.loment(["pull", "--quiet", &ours]).succeeds();
    list(&world, &["create", "--insecure", "l:1", &ours, &theirs]);
    let verbose = |name: &str| -> Value {
        serde_json::from_str(list(&world, &["inspect", "-v", "--insecure", name]).succeeds()).unwrap()
    };
    let shown = verbose("l:1");
    let digest = registry.digest_of("busybox", "latest");
    assert_eq!(shown[0]["Ref"], format!("docker.io/library/l:1@{digest}"));
    assert_eq!(shown[0]["Descriptor"]["platform"]["architecture"], "amd64");
    assert_eq!(shown[0]["OCIManifest"], registry.manifest("busybox", "latest"));
    assert_eq!(shown[1]["SchemaV2Manifest"], registry.manifest("busybox", "docker"));
    let base64 = run(Command::new("base64").arg("-w0").arg(registry.blob_file(&digest)), Patience::NORMAL);
    assert_eq!(shown[0]["Raw"], base64.succeeds());
    assert!(shown[1]["Ref"].as_str().unwrap().starts_with(&registry.name("busybox@sha256:")), "{shown}");
    // Of a registry: an index, and one image.
    let multi = verbose(&registry.name("multi:docker"));
    let raw = raw(&format!("docker://{}", registry.name("multi:docker")));
    let descriptors: Vec<_> = multi.as_array().unwrap().iter().map(|one| one["Descriptor"].clone()).collect();
    assert_eq!(Value::from(descriptors), raw["manifests"]);
    assert!(multi[2]["SchemaV2Manifest"]["layers"].is_array(), "{multi}");
    let one = verbose(&registry.name("busybox:zstd"));
    assert_eq!(one["Descriptor"]["digest"], registry.digest_of("busybox", "zstd").as_str());
    assert_eq!(
        (&one["Descriptor"]["platform"]["os"], &one["Ref"]),
        (&"linux".into(), &registry.name("busybox:zstd").into())
    );
    list(&world, &["push", "--insecure", "-q", "l:1", &format!("docker://{}", registry.name("insecure:1"))]);
    let both = ["manifest", "inspect", "--insecure", "--tls-verify", "l:1"];
    let both = world.loment(both);
    assert!(both.fails(125).contains("cannot be set together"), "{both}");
}

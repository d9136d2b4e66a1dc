//! skopeo's own flags, and its verbs about other places than registries, beside the real one.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use loment_testkit::{Output, Patience, Registry, World, run};
use serde_json::Value;

use crate::{fixtures, world};

/// The real skopeo, in the directory of the world.
fn theirs(world: &World, arguments: &[&str]) -> Output {
    let mut skopeo = Command::new("/usr/bin/skopeo");
    run(skopeo.args(arguments).current_dir(world.path("")), Patience::NORMAL)
}

fn ours(world: &World, arguments: &[&str]) -> Output {
    world.named("skopeo", arguments)
}

/// What is said in the last line of a failure.
#[track_caller]
fn message(output: &Output) -> String {
    let text = output.fails(1);
    let (_, message) = text.rsplit_once("level=fatal msg=\"").unwrap_or_else(|| panic!("{output}"));
    message.trim_end().trim_end_matches('"').replace("\\\"", "\"")
}

#[test]
fn each_flag_of_skopeo_is_known() {
    let world = world();
    let verbs = [
        "",
        "copy",
        "delete",
        "inspect",
        "layers",
        "list-tags",
        "login",
        "logout",
        "manifest-digest",
        "sync",
    ];
    let mut count = 0;
    for verb in verbs {
        let words: Vec<&str> = verb.split_whitespace().collect();
        let help = theirs(&world, &[&words[..], &["--help"]].concat());
        let (_, flags) = help.stdout.split_once("\nFlags:\n").unwrap_or_default();
        let lines = flags.lines().take_while(|line| !line.is_empty());
        for flag in
            lines.flat_map(|line| line.split_whitespace().take(2)).filter(|word| word.starts_with('-'))
        {
            let flag = flag.trim_end_matches(',');
            let tried = ours(&world, &[&words[..], &[flag]].concat());
            let unknown = ["unexpected argument", "unknown flag", "unrecognized command"];
            assert!(!unknown.iter().any(|words| tried.stderr.contains(words)), "{tried}");
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}

#[test]
fn flags_stand_before_the_command_or_behind_it() {
    let (world, registry) = (world(), fixtures().serve());
    let multi = format!("docker://{}", registry.name("multi:latest"));
    let format = ["--tls-verify=false", "--no-tags", "--format", "{{.Architecture}}", &multi];
    for (before, behind) in [(&["--override-arch", "arm64"][..], &[][..]), (&[], &["--override-arch=arm64"])]
    {
        let arguments = [before, &["inspect"], behind, &format].concat();
        assert_eq!(ours(&world, &arguments).succeeds(), "arm64", "{arguments:?}");
        assert_eq!(theirs(&world, &arguments).succeeds(), "arm64", "{arguments:?}");
    }
    // Who accepts everything is asked first, in whatever order.
    let reject = world.write("reject.json", r#"{"default": [{"type": "reject"}]}"#);
    let to = format!("dir:{}", world.path("dir").display());
    let copy = ["copy", "--quiet", "--src-tls-verify=false", &multi, &to];
    for (flags, accepted) in [
        (&["--policy", &reject][..], false),
        (&["--policy", &reject, "--insecure-policy"], true),
        (&["--insecure-policy", "--policy", &reject], true),
        (&["--policy", &reject, "--insecure-policy=false"], false),
    ] {
        let arguments = [flags, &copy].concat();
        assert_eq!(ours(&world, &arguments).code == 0, accepted, "{arguments:?}");
        assert_eq!(theirs(&world, &arguments).code == 0, accepted, "{arguments:?}");
    }
    // No time is no limit; and whatever comes behind the dashes is no flag.
    ours(&world, &["--command-timeout", "0", "--debug", "inspect", "--raw", &multi]).succeeds();
    assert!(message(&ours(&world, &["inspect", "--", "--debug"])).contains("begin with a transport"));
    for (flag, value, words) in [
        ("--require-signed", None, "signatures of images are not verified yet"),
        ("--tls-details", Some("x.yaml"), "leave it out"),
        ("--user-agent-prefix", Some("a\nb"), "use printable ASCII"),
        ("--debug=perhaps", None, "use true or false"),
        ("--policy", None, "flag needs an argument"),
    ] {
        let arguments: Vec<&str> = [flag].into_iter().chain(value).collect();
        let refused = ours(&world, &[&["inspect", &multi], &arguments[..]].concat());
        assert!(message(&refused).contains(words), "{refused}");
    }
    let help = ours(&world, &["--help"]);
    assert!(help.succeeds().contains("--registries-conf <FILE>"), "{help}");
}

#[test]
fn registries_conf_is_the_one_that_is_named() {
    let (world, registry) = (world(), fixtures().serve());
    let conf = format!(
        "[[registry]]\nprefix = \"images.test\"\nlocation = {:?}\ninsecure = true\n",
        registry.host()
    );
    let conf = world.write("some.conf", conf);
    let image = "docker://images.test/busybox:latest";
    let inspect = ["--registries-conf", &conf, "inspect", "--no-tags", "--format", "{{.Digest}}", image];
    assert_eq!(ours(&world, &inspect).succeeds(), theirs(&world, &inspect).succeeds());
    let dir = format!("dir:{}", world.path("dir").display());
    ours(&world, &["copy", "--quiet", "--registries-conf", &conf, image, &dir]).succeeds();
    // One that is named must be there.
    let missing = ["--registries-conf", "/nonesuch", "inspect", image];
    assert!(message(&ours(&world, &missing)).contains("/nonesuch"));
    assert!(message(&theirs(&world, &missing)).contains("/nonesuch"));
}

#[test]
fn certificates_are_not_verified_for_any_command() {
    let (world, registry) = (world(), Registry::with_tls(&fixtures().storage()));
    let image = format!("docker://{}", registry.name("busybox:latest"));
    ours(&world, &["inspect", "--raw", &image]).fails(1);
    ours(&world, &["--tls-verify=false", "inspect", "--tls-verify=true", "--raw", &image]).fails(1);
    for output in
        [ours, theirs].map(|skopeo| skopeo(&world, &["--tls-verify=false", "inspect", "--raw", &image]))
    {
        output.succeeds();
        let words =
            "level=warning msg=\"'--tls-verify' is deprecated, please set this on the specific subcommand\"";
        assert!(output.stderr.contains(words), "{output}");
    }
}

#[test]
fn registries_are_told_who_asks() {
    let world = world();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let image = format!("docker://{}/x", listener.local_addr().unwrap());
    let seen = std::thread::spawn(move || {
        // The first may want to speak TLS.
        let streams = listener.incoming().map_while(Result::ok);
        let lines =
            streams.flat_map(|stream| std::io::BufReader::new(stream).lines().map_while(Result::ok).take(8));
        let mut agents = lines.filter(|line| line.to_ascii_lowercase().starts_with("user-agent: "));
        agents.next().unwrap()
    });
    ours(&world, &["--user-agent-prefix", "someone/1.0", "inspect", "--tls-verify=false", "--raw", &image])
        .fails(1);
    let agent = seen.join().unwrap();
    assert!(agent["user-agent: ".len()..].starts_with("someone/1.0 loment/"), "{agent}");
}

#[test]
fn large_temporary_files_are_where_they_are_wanted() {
    let (world, registry) = (world(), fixtures().serve());
    let (image, tar) = (format!("docker://{}", registry.name("busybox:latest")), world.path("a.tar"));
    let archive = format!("docker-archive:{}:localhost/x:1", tar.display());
    ours(&world, &["copy", "--quiet", &image, &archive]).succeeds();
    run(Command::new("gzip").arg(&tar), Patience::NORMAL).succeeds();
    let packed = format!("docker-archive:{}.gz", tar.display());
    assert!(message(&ours(&world, &["--tmpdir", "/nonesuch", "inspect", &packed])).contains("/nonesuch"));
    let dir = world.path("").display().to_string();
    ours(&world, &["--tmpdir", &dir, "inspect", &packed]).succeeds();
}

/// The directory that `layers` has made, with its files by their names. It is removed.
#[track_caller]
fn layers_made(world: &World) -> (BTreeSet<String>, Vec<u8>) {
    let entries =
        |dir: &Path| std::fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let mut made = entries(&world.path(""));
    made.retain(|path| name(path).starts_with("layers-"));
    let [dir] = &made[..] else { panic!("{made:?}") };
    let found = (entries(dir).iter().map(name).collect(), std::fs::read(dir.join("manifest.json")).unwrap());
    std::fs::remove_dir_all(dir).unwrap();
    found
}

#[test]
fn layers_are_copied_to_a_new_directory() {
    let (world, registry) = (world(), fixtures().serve());
    let image = format!("docker://{}", registry.name("app:latest"));
    let layers = registry.manifest("app", "latest")["layers"].clone();
    let first = layers[0]["digest"].as_str().unwrap();
    let second = layers[1]["digest"].as_str().unwrap().trim_start_matches("sha256:");
    for chosen in [&[][..], &[first], &[second], &[first, second]] {
        let arguments = [&["layers", "--tls-verify=false", image.as_str()], chosen].concat();
        let made = ours(&world, &arguments);
        made.succeeds();
        assert!(
            made.stderr.contains("DEPRECATED: skopeo layers is deprecated in favor of skopeo copy"),
            "{made}"
        );
        let mine = layers_made(&world);
        theirs(&world, &arguments).succeeds();
        assert_eq!(mine, layers_made(&world), "{chosen:?}");
        // With the manifest and the version.
        assert_eq!(
            mine.0.len(),
            2 + if chosen.is_empty() { layers.as_array().unwrap().len() + 1 } else { chosen.len() }
        );
    }
    let other = "0".repeat(64);
    assert!(message(&ours(&world, &["layers", &image, &other])).contains(&other));
    assert!(message(&ours(&world, &["layers", &image, "sha256:x"])).contains("use sha256:DIGITS"));
    let left = std::fs::read_dir(world.path("")).unwrap().flatten();
    assert!(!left.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("layers-")));
}

#[test]
fn archives_have_tags_and_other_places_none() {
    let (world, registry) = (world(), fixtures().serve());
    let image = format!("docker://{}", registry.name("busybox:latest"));
    let two = format!("docker-archive:{}", world.path("two.tar").display());
    let named = format!("{two}:localhost/x:1");
    ours(&world, &["copy", "--quiet", "--additional-tag", "quay.io/y/z:2", &image, &named]).succeeds();
    let none = format!("docker-archive:{}", world.path("none.tar").display());
    ours(&world, &["copy", "--quiet", &image, &none]).succeeds();
    for place in [&two, &named, &none] {
        let tags = ["list-tags", place.as_str()];
        assert_eq!(ours(&world, &tags).succeeds(), theirs(&world, &tags).succeeds(), "{place}");
    }
    assert!(ours(&world, &["list-tags", &two]).stdout.contains("\"quay.io/y/z:2\""));
    // The same under our own name.
    assert_eq!(
        world.loment(["image", "list-tags", &two]).succeeds(),
        ours(&world, &["list-tags", &two]).succeeds()
    );
    for place in
        ["dir:/x", "oci:/x", "oci-archive:/x", "containers-storage:x", "docker-daemon:x:1", "busybox"]
    {
        let tags = ["list-tags", place];
        assert_eq!(message(&ours(&world, &tags)), message(&theirs(&world, &tags)), "{place}");
    }
}

/// How many blobs there are in a directory of blobs.
fn blobs(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("sha256")).into_iter().flatten().flatten().count()
}

/// How many entries the index of a layout has.
fn entries(layout: &Path) -> usize {
    let index = std::fs::read(layout.join("index.json")).unwrap();
    serde_json::from_slice::<Value>(&index).unwrap()["manifests"].as_array().unwrap().len()
}

#[test]
fn images_are_deleted_from_layouts_with_what_only_they_need() {
    let (world, registry) = (world(), fixtures().serve());
    let layout = world.path("layout");
    let place = |name: &str| format!("oci:{}:{name}", layout.display());
    let counts = || (entries(&layout), blobs(&layout.join("blobs")));
    // The second has the layers of the first, and the third is the first.
    for (image, name) in [("busybox:latest", "a"), ("app:latest", "b"), ("busybox:latest", "c")] {
        let image = format!("docker://{}", registry.name(image));
        ours(&world, &["copy", "--quiet", &image, &place(name)]).succeeds();
    }
    let (_, all) = counts();
    ours(&world, &["delete", &place("c")]).succeeds();
    assert_eq!(counts(), (2, all), "the first still needs it");
    ours(&world, &["delete", &place("a")]).succeeds();
    let layers = registry.manifest("app", "latest")["layers"].as_array().unwrap().len();
    assert_eq!(counts(), (1, layers + 2));
    let copy = format!("dir:{}", world.path("copy").display());
    theirs(&world, &["--insecure-policy", "copy", "--quiet", &place("b"), &copy]).succeeds();
    assert!(message(&ours(&world, &["delete", &place("a")])).contains(&layout.display().to_string()));
    // The only one needs no name.
    world.loment(["image", "delete", place("").trim_end_matches(':')]).succeeds();
    assert_eq!(counts(), (0, 0));
    // An index goes with its images; what layouts share stays.
    let multi = format!("docker://{}", registry.name("multi:latest"));
    ours(&world, &["copy", "--quiet", "--all", &multi, &place("m")]).succeeds();
    assert!(counts().1 > 5, "{:?}", counts());
    ours(&world, &["delete", &place("m")]).succeeds();
    assert_eq!(counts(), (0, 0));
    let shared = world.path("shared");
    let dir = shared.display().to_string();
    ours(&world, &["copy", "--quiet", "--dest-shared-blob-dir", &dir, &multi, &place("s")]).succeeds();
    let before = blobs(&shared);
    ours(&world, &["delete", "--shared-blob-dir", &dir, &place("s")]).succeeds();
    assert_eq!((counts(), blobs(&shared)), ((0, 0), before));
}

#[test]
fn images_of_the_store_are_deleted_and_other_places_refuse_it() {
    let (world, registry) = (world(), fixtures().serve());
    let name = registry.name("busybox:latest");
    world.loment(["pull", "--quiet", &name]).succeeds();
    world.loment(["tag", &name, "again"]).succeeds();
    world
        .persona("skopeo", ["delete", "--daemon-host", "unix:///x", &format!("containers-storage:{name}")])
        .succeeds();
    assert_eq!(world.loment(["images", "--quiet"]).succeeds(), "");
    assert_eq!(world.leftovers(), [""; 0]);
    world.persona("skopeo", ["delete", "containers-storage:nonesuch"]).fails(1);
    for place in ["dir:/x", "docker-archive:/x", "docker-daemon:x:1"] {
        let (mine, other) = (ours(&world, &["delete", place]), theirs(&world, &["delete", place]));
        assert!(message(&mine).starts_with(&message(&other)), "{mine}{other}");
    }
}

#[test]
fn the_digest_of_a_signed_manifest_is_that_of_what_is_signed() {
    let (world, registry, first) = (world(), fixtures().serve(), Registry::with_schema1());
    let (from, to) = (format!("docker://{}", registry.name("busybox:latest")), first.name("old:1"));
    let to = format!("docker://{to}");
    let flags = ["--insecure-policy", "copy", "--quiet", "--format", "v2s1", "--src-tls-verify=false"];
    theirs(&world, &[&flags[..], &["--dest-tls-verify=false", &from, &to]].concat()).succeeds();
    let raw = theirs(&world, &["inspect", "--raw", "--tls-verify=false", &to]);
    let file = world.write("signed.json", &raw.stdout);
    let digest = ["manifest-digest", file.as_str()];
    assert_eq!(ours(&world, &digest).succeeds(), theirs(&world, &digest).succeeds());
    let odd = world.write("odd.json", r#"{"schemaVersion": 1, "signatures": [{"protected": "!"}]}"#);
    assert!(message(&ours(&world, &["manifest-digest", &odd])).contains("its signature is none"));
}

#[test]
fn what_is_not_there_is_refused_by_its_name() {
    let world = world();
    for (verb, words) in [
        ("standalone-sign", "not signed yet"),
        ("standalone-verify", "not read yet"),
        ("generate-sigstore-key", "not signed yet"),
        ("experimental-image-proxy", "call skopeo"),
        ("untrusted-signature-dump-without-verification", "not read yet"),
    ] {
        let refused = message(&ours(&world, &[verb, "--help"]));
        assert!(
            refused.starts_with(&format!("`skopeo {verb}` is refused: ")) && refused.contains(words),
            "{refused}"
        );
    }
    for (verb, words) in [("scp", "save and load"), ("sign", "not signed yet"), ("trust", "policy.json")] {
        let start = format!("`podman image {verb}` is refused: ");
        world.persona("podman", ["image", verb, "x"]).fails_saying(125, &[&start, words]);
    }
}

#[test]
fn each_flag_of_podman_about_images_is_known() {
    let world = world();
    let all: Value = serde_json::from_str(include_str!("../../../docs/peers/podman-6.0-dev.json")).unwrap();
    let verbs = [
        "diff",
        "history",
        "image diff",
        "image exists",
        "image inspect",
        "image mount",
        "image tree",
        "image unmount",
        "images",
        "import",
        "inspect",
        "load",
        "login",
        "logout",
        "manifest add",
        "manifest annotate",
        "manifest create",
        "manifest exists",
        "manifest inspect",
        "manifest push",
        "manifest remove",
        "manifest rm",
        "pull",
        "push",
        "rmi",
        "save",
        "search",
        "system check",
        "system df",
        "tag",
        "untag",
    ];
    for verb in verbs {
        for flag in all[verb].as_array().unwrap_or_else(|| panic!("{verb}")) {
            let words = verb.split(' ').chain(flag.as_str());
            let tried = world.persona("podman", words);
            assert!(!tried.stderr.contains("unexpected argument"), "{tried}");
        }
    }
}

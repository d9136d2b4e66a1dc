//! What is used on disk and what is not used at all: `system df`, `image prune`, `system prune`, `image tree`.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use loment_testkit::{Patience, SlowWay, World, run};
use serde_json::Value;

use crate::{eventually, fixtures, sleeper, world};

/// What `du` counts of some files and directories, in bytes.
fn du(paths: &[&Path]) -> u64 {
    let mut du = Command::new("du");
    let output = run(du.args(["-s", "-c", "-B1"]).args(paths), Patience::NORMAL);
    let total = output.succeeds().lines().last().unwrap();
    total.split('\t').next().unwrap().parse().unwrap()
}

/// What the files below a directory occupy, without their directories.
fn files(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata().unwrap() {
            meta if meta.is_dir() => files(&entry.path()),
            meta => meta.blocks() * 512,
        })
        .sum()
}

/// Directories in one of the store's.
fn below(world: &World, dir: &str) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(world.root().join(dir)).unwrap().flatten().map(|entry| entry.path()).collect()
}

fn df(world: &World) -> Value {
    serde_json::from_str(world.loment(["system", "df", "--format", "json"]).succeeds()).unwrap()
}

#[test]
fn what_is_pulled_while_dangling_images_are_pruned_stays() {
    let (world, registry) = (world(), fixtures().serve());
    let image = registry.name("app:latest");
    world.loment(["pull", "--quiet", &image]).succeeds();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let prune = || {
            while !done.load(Ordering::Relaxed) {
                world.loment(["image", "prune", "--force"]).succeeds();
            }
        };
        let pruners = [scope.spawn(prune), scope.spawn(prune)];
        let mut lost = 0;
        for _ in 0..12 {
            world.loment(["untag", &image]);
            let pulled = world.loment(["pull", "--quiet", &image]).code == 0;
            lost += u32::from(!pulled || world.loment(["image", "exists", &image]).code != 0);
        }
        done.store(true, Ordering::Relaxed);
        pruners.into_iter().for_each(|one| one.join().unwrap());
        assert_eq!(lost, 0, "of 12");
    });
}

/// A world with these images.
fn with(images: &[&str]) -> (World, Vec<String>) {
    let (world, registry) = (world(), fixtures().serve());
    let names: Vec<String> = images.iter().map(|image| registry.name(image)).collect();
    for name in &names {
        world.loment(["pull", "--quiet", name]).succeeds();
    }
    (world, names)
}

#[test]
fn df_counts_what_du_counts() {
    // The first two share their lower layer.
    let (world, names) = with(&["busybox:latest", "app:latest", "multi:latest", "busybox:docker"]);
    let layers = below(&world, "layers");
    let layers: Vec<&Path> = layers.iter().map(|path| path.as_path()).collect();
    let all = du(&layers) + files(&world.root().join("blobs"));
    assert_eq!(df(&world)[0]["RawSize"], all);
    assert_eq!(df(&world)[0]["RawReclaimable"], all);
    assert_eq!((&df(&world)[0]["Total"], &df(&world)[0]["Active"]), (&3.into(), &0.into()));
    let script = "head -c 1000000 /dev/zero >/big; ln /big /again";
    let head = ["run", "--network", "none", "--name", "c", "--user", "root", "--entrypoint", "sh"];
    world.loment([&head[..], &[&names[1], "-c", script]].concat()).succeeds();
    let usage = df(&world);
    let upper: Vec<_> = below(&world, "containers").iter().map(|dir| dir.join("upper")).collect();
    // The directory itself is no change.
    let own = std::fs::metadata(&upper[0]).unwrap().blocks() * 512;
    assert_eq!(usage[1]["RawSize"], du(&[&upper[0]]) - own);
    assert!(usage[1]["RawSize"].as_u64().unwrap() >= 1_000_000, "{usage}");
    assert_eq!(usage[1]["RawSize"], usage[1]["RawReclaimable"]);
    assert_eq!(usage[0]["Active"], 1);
    // What would be free is what removing the others frees.
    let (before, reclaimable) = (usage[0]["RawSize"].as_u64(), usage[0]["RawReclaimable"].as_u64());
    world.loment(["image", "prune", "--all", "--force"]).succeeds();
    assert_eq!(before.zip(reclaimable).map(|(all, free)| all - free), df(&world)[0]["RawSize"].as_u64());
    assert_eq!(df(&world)[0]["RawReclaimable"], 0);
}

#[test]
fn df_counts_what_a_pull_is_at() {
    let world = world();
    let registry = crate::slow::large(&world, 32 << 20);
    let way = SlowWay::to(&registry, 256 << 10, true);
    let mut pull = world.command(["pull", "-q", "--tls-verify=false", &way.name("large:1")]);
    let mut pull = pull.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let all = || {
        let dirs = ["layers", "staging", "leases", "partial"].map(|dir| world.root().join(dir));
        let entries = dirs.iter().flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten());
        let paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        let paths: Vec<&Path> = paths.iter().map(|path| path.as_path()).collect();
        // Without any it counts where it is.
        let dirs = if paths.is_empty() { 0 } else { du(&paths) };
        dirs + files(&world.root().join("blobs"))
    };
    eventually("some of it has come", || way.delivered() > 512 << 10);
    // It goes on meanwhile: two counts that say the same have nothing come between them.
    let mut shown = None;
    eventually("nothing comes for a moment", || {
        let (before, usage, after) = (all(), df(&world), all());
        shown = Some(usage).filter(|_| before == after).map(|usage| (usage, after));
        shown.is_some()
    });
    let verbose = world.loment(["system", "df", "--verbose"]);
    pull.kill().unwrap();
    pull.wait().unwrap();
    let (usage, after) = shown.unwrap();
    assert!(after > 256 << 10, "{after}");
    assert_eq!((&usage[0]["RawSize"], &usage[0]["RawReclaimable"]), (&after.into(), &0.into()));
    assert!(verbose.succeeds().contains("\nOf no image, and needed or under way: "), "{verbose}");
    // Nobody needs it any more.
    let usage = df(&world);
    assert_eq!((&usage[0]["RawSize"], &usage[0]["RawReclaimable"]), (&all().into(), &all().into()));
    world.loment(["system", "prune", "--force"]).succeeds();
    assert_eq!((&df(&world)[0]["RawSize"], all()), (&0.into(), 0));
}

#[test]
fn df_has_podmans_tables() {
    let (world, names) = with(&["busybox:latest", "app:latest"]);
    world.loment(["create", "--name", "c", "--network", "none", &names[0], "true"]).succeeds();
    let output = world.loment(["system", "df"]);
    let lines: Vec<_> = output.succeeds().lines().collect();
    let words =
        |line: &str| line.split("  ").map(str::trim).filter(|c| !c.is_empty()).map(str::to_owned).collect();
    let head: Vec<String> = words(lines[0]);
    assert_eq!(head, ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]);
    let row: Vec<String> = words(lines[1]);
    assert_eq!(row[..3], ["Images", "2", "1"]);
    let verbose = world.loment(["system", "df", "--verbose"]);
    let text = verbose.succeeds();
    for part in
        ["Images space usage:\n\nREPOSITORY", "UNIQUE SIZE", "\nContainers space usage:\n\nCONTAINER ID"]
    {
        assert!(text.contains(part), "{text}");
    }
    let size = world.loment(["system", "df", "--format", "{{.Type}} {{.Total}} {{.Reclaimable}}"]);
    assert!(size.succeeds().ends_with("Local Volumes 0 0B (0%)"), "{size}");
    world.loment(["system", "df", "-v", "--format", "json"]).fails(125);
}

#[test]
fn prune_removes_dangling_images_or_all_without_containers() {
    let (world, names) = with(&["busybox:latest", "app:latest"]);
    world.loment(["untag", &names[1]]).succeeds();
    // Without an answer nothing goes; "n" is one.
    world.loment(["image", "prune"]).fails(125);
    let no = world.loment_with_input(["image", "prune"], "n\n");
    let question =
        "WARNING! This command removes all dangling images.\nAre you sure you want to continue? [y/N] ";
    assert_eq!(no.code, 0, "{no}");
    assert_eq!(no.stdout, question);
    let kept = world.loment(["image", "prune", "--force", "--filter", "until=2020-01-01T00:00:00Z"]);
    assert_eq!(kept.succeeds(), "");
    let kept = world.loment(["image", "prune", "--force", "--filter", "label=no"]);
    assert_eq!(kept.succeeds(), "");
    let yes = world.loment_with_input(["image", "prune", "--filter", "label=org.example.kind=app"], "Y\n");
    assert_eq!(yes.succeeds().trim_start_matches(question).len(), 64, "{yes}");
    assert_eq!(world.loment(["images", "-q"]).succeeds().lines().count(), 1);
    // The last one is in use.
    sleeper(&world, "c", &[], &names[0]);
    assert_eq!(world.loment(["image", "prune", "-a", "-f", "--external", "--build-cache"]).succeeds(), "");
    world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    assert_eq!(world.loment(["image", "prune", "-a", "-f"]).succeeds().len(), 64);
    assert!(below(&world, "layers").is_empty());
}

#[test]
fn docker_says_what_was_deleted() {
    let (world, names) = with(&["busybox:latest"]);
    let (root, run) = (world.root(), world.runroot());
    let globals = ["--root", root.to_str().unwrap(), "--runroot", run.to_str().unwrap()];
    let output = world.named("docker", [&globals[..], &["image", "prune", "-a", "-f"]].concat());
    let text = output.succeeds();
    assert!(
        text.starts_with(&format!("Deleted Images:\nuntagged: {}\ndeleted: sha256:", names[0])),
        "{text}"
    );
    assert!(text.contains("\n\nTotal reclaimed space: ") && !text.ends_with(" 0B"), "{text}");
}

#[test]
fn system_prune_removes_containers_and_then_their_images() {
    let (world, names) = with(&["busybox:latest", "app:latest"]);
    let create = |name: &str, label: &str, image: &str| {
        let id =
            world.loment(["create", "--network", "none", "--name", name, "--label", label, image, "true"]);
        id.succeeds().to_owned()
    };
    let (kept, gone) = (create("kept", "keep=yes", &names[0]), create("gone", "keep=no", &names[1]));
    let none = world.loment(["system", "prune", "-f", "--filter", "label=nonesuch"]);
    assert_eq!(none.succeeds(), "Total reclaimed space: 0B");
    let asked = world.loment_with_input(["system", "prune", "--volumes"], "no\n");
    let volumes = "\t- all volumes not used by at least one container\n";
    let said = format!("\t- all stopped containers\n{volumes}\t- all dangling images");
    assert!(asked.succeeds().contains(&said), "{asked}");
    let output = world.loment(["system", "prune", "-f", "--filter", "label!=keep=yes"]);
    assert!(output.succeeds().starts_with(&format!("Deleted Containers\n{gone}\n")), "{output}");
    assert_eq!(world.loment(["ps", "-aq", "--no-trunc"]).succeeds(), kept);
    sleeper(&world, "runs", &[], &names[0]);
    let all = world.loment(["system", "prune", "--all", "--force"]);
    let text = all.succeeds();
    assert!(text.starts_with(&format!("Deleted Containers\n{kept}\nDeleted Images\n")), "{text}");
    assert_eq!(world.loment(["ps", "-q"]).succeeds().lines().count(), 1);
    assert_eq!(world.loment(["images", "--format", "{{.Repository}}:{{.Tag}}"]).succeeds(), names[0]);
    world.loment(["system", "prune", "--filter", "id=1", "-f"]).fails_saying(125, &["until=TIME"]);
}

#[test]
fn a_tree_shows_layers_and_what_stands_on_them() {
    let (world, names) = with(&["busybox:latest", "app:latest", "multi:latest"]);
    let layer = |image: &str, at: usize| {
        let template = format!("{{{{index .RootFS.Layers {at}}}}}");
        world.inspect(&template, image).trim_start_matches("sha256:")[..12].to_owned()
    };
    let tree = world.loment(["image", "tree", &names[1]]);
    let lines: Vec<_> = tree.succeeds().lines().collect();
    let id = world.inspect("{{.Id}}", &names[1]);
    assert_eq!(lines[0], format!("Image ID: {}", &id[..12]));
    assert_eq!(lines[1], format!("Tags:     [{}]", names[1]));
    assert!(lines[2].starts_with("Size:     ") && lines[3] == "Image Layers", "{tree}");
    assert!(lines[4].starts_with(&format!("├── ID: {} Size: ", layer(&names[1], 0))), "{tree}");
    assert!(lines[4].ends_with(&format!(" Top Layer of: [{}]", names[0])), "{tree}");
    assert!(lines[5].starts_with(&format!("└── ID: {}", layer(&names[1], 1))), "{tree}");
    assert_eq!(lines.len(), 6);
    let above = world.loment(["image", "tree", "--whatrequires", &names[0]]);
    let text = above.succeeds();
    for image in &names {
        assert!(text.contains(&format!(" Top Layer of: [{image}]")), "{text}");
    }
    assert_eq!(text.lines().count(), 4 + 3);
    world.loment(["image", "tree", "nonesuch"]).fails_saying(125, &["nonesuch: image not known"]);
}

//! `images` with filters and formats, and what `image inspect` shows.

use loment_testkit::{Compression, Config, Entry, Image, Layer, Layout, Registry, Variant, World};
use serde_json::{Value, json};

use crate::{fixtures, world, world_with};

/// Two images, one made from the other, in a registry of their own.
struct Family {
    world: World,
    base: String,
    child: String,
    _registry: Registry,
}

fn family() -> Family {
    let world = world();
    let base = || Layer::of([Entry::dir("bin"), Entry::file("bin/x", "x")]).into();
    let top = Layer::of([Entry::file("top", "top")]);
    let config = Config::shell().set("Labels", json!({ "kind": "base", "a.b": "c" }));
    let health = json!({ "Test": ["CMD", "true"], "Interval": 5_000_000_000u64, "Retries": 3 });
    let further = Config::shell()
        .set("Labels", json!({ "kind": "child" }))
        .set("Healthcheck", health)
        .set("Shell", json!(["/bin/ash", "-c"]))
        .set("OnBuild", json!(["RUN x"]))
        .set("StopSignal", json!("SIGINT"))
        .set("ExposedPorts", json!({ "80/tcp": {} }));
    let mut layout = Layout::create(&world.path("layout"));
    layout.add("base", &Image::new(config, [base()]), Compression::Gzip);
    layout.add("child", &Image::new(further, [base(), top.into()]), Compression::Gzip);
    let registry = Registry::empty();
    let (base, child) = (registry.name("team/base:1"), registry.name("team/child:2"));
    layout.push("base", &base, Variant::AsIs);
    layout.push("child", &child, Variant::DockerSchema2);
    for name in [&base, &child] {
        world.loment(["pull", "--quiet", name]).succeeds();
    }
    Family { world, base, child, _registry: registry }
}

impl Family {
    /// The names that `images` shows with these flags, sorted.
    #[track_caller]
    fn shown(&self, flags: &[&str]) -> Vec<String> {
        let all = [&["images", "--format", "{{.Repository}}:{{.Tag}}"], flags].concat();
        let mut shown: Vec<String> = self.world.loment(all).succeeds().lines().map(str::to_owned).collect();
        shown.sort_unstable();
        shown
    }
}

#[test]
fn filters_choose_among_images() {
    let family = family();
    let (base, child) = (family.base.as_str(), family.child.as_str());
    let id = family.world.inspect("{{.Id}}", base);
    let digest = family.world.inspect("{{.Digest}}", child);
    for (filter, wanted) in [
        (format!("id={}", &id[..9]), vec![base]),
        (format!("digest={}", &digest[..20]), vec![child]),
        ("label=kind".into(), vec![base, child]),
        ("label=kind=child".into(), vec![child]),
        ("label!=kind=child".into(), vec![base]),
        ("reference=*/team/base".into(), vec![base]),
        ("reference=base:*".into(), vec![base]),
        ("reference!=base".into(), vec![child]),
        ("dangling=true".into(), vec![]),
        ("dangling=false".into(), vec![base, child]),
        ("containers=true".into(), vec![]),
        ("readonly=false".into(), vec![base, child]),
        ("manifest=true".into(), vec![]),
        ("intermediate=true".into(), vec![]),
        ("until=2024-06-01".into(), vec![base, child]),
        ("until=2023-06-01T00:00:00Z".into(), vec![]),
        (format!("before={child}"), vec![]),
        ("label=kind=base,label=a.b=c".into(), vec![base]),
        ("reference=base,reference=child".into(), vec![base, child]),
    ] {
        assert_eq!(family.shown(&["--filter", &filter]), wanted, "{filter}");
    }
    assert_eq!(family.shown(&["base"]), [base]);
    assert_eq!(family.shown(&["nonesuch"]), [""; 0]);
    let world = &family.world;
    world.loment(["images", "-f", "colour=red"]).fails_saying(125, &["colour=red", "use after, before"]);
    world.loment(["images", "-f", "dangling=maybe"]).fails_saying(125, &["dangling=true or dangling=false"]);
    world.loment(["images", "-f", "since=nonesuch"]).fails_saying(125, &["nonesuch: image not known"]);
    world.loment(["images", "-f", "until=soon"]).fails_saying(125, &["until=soon", "an age such as 24h"]);
    world.loment(["images", "-f", "id=1", "x"]).fails_saying(125, &["cannot specify an image and a filter"]);
    world.loment(["images", "--sort", "colour"]).fails_saying(125, &["not a valid field for sorting"]);
}

#[test]
fn images_that_lost_their_names_are_dangling_or_in_between() {
    let family = family();
    let world = &family.world;
    let id = world.inspect("{{.Id}}", &family.base);
    world.loment(["untag", &family.base]).succeeds();
    // Another image was made from it.
    assert_eq!(family.shown(&["--all", "--filter", "intermediate=true"]), ["<none>:<none>"]);
    assert_eq!(family.shown(&["--filter", "dangling=true"]), [""; 0]);
    assert_eq!(family.shown(&[]), [family.child.as_str()]);
    assert_eq!(family.shown(&["--all"]).len(), 2);
    let history = world.loment(["images", "--all", "--history", "--noheading"]);
    assert!(
        history.succeeds().lines().any(|l| l.contains("<none>") && l.contains(&family.base)),
        "{history}"
    );
    // It stays when it is asked for, and otherwise goes with the image that was made from it.
    let child = world.inspect("{{.Id}}", &family.child);
    world.loment(["tag", &child, "again:1"]).succeeds();
    world.loment(["rmi", "again:1"]).succeeds();
    let removed = world.loment(["rmi", &family.child]);
    assert!(removed.succeeds().contains(&format!("Deleted: {child}\nDeleted: {id}")), "{removed}");
    assert_eq!(world.loment(["images", "-aq"]).succeeds(), "");
}

#[test]
fn parents_can_be_kept() {
    let family = family();
    let world = &family.world;
    world.loment(["untag", &family.base]).succeeds();
    world.loment(["rmi", "--no-prune", &family.child]).succeeds();
    assert_eq!(family.shown(&["--filter", "dangling=true"]), ["<none>:<none>"]);
}

#[test]
fn rows_are_sorted_and_have_podmans_and_dockers_fields() {
    let family = family();
    let world = &family.world;
    let column = |sort: &str, field: &str| {
        let output = world.loment(["images", "--sort", sort, "--format", field]);
        output.succeeds().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    for (sort, field) in [
        ("id", "{{.ID}}"),
        ("repository", "{{.Repository}}"),
        ("tag", "{{.Tag}}"),
        ("size", "{{.VirtualSize}}"),
    ] {
        assert!(column(sort, field).is_sorted(), "{sort}");
    }
    let json: Value =
        serde_json::from_str(world.loment(["images", "--format", "json", "child"]).succeeds()).unwrap();
    let row = &json[0];
    assert_eq!(row["Id"], world.inspect("{{.Id}}", &family.child));
    assert_eq!(row["ParentId"], world.inspect("{{.Id}}", &family.base));
    assert_eq!(row["Names"], json!([family.child]));
    assert_eq!(row["History"], json!([family.child]));
    assert_eq!(row["Labels"], json!({ "kind": "child" }));
    assert_eq!(row["Created"], 1_704_164_645);
    assert_eq!(row["CreatedAt"], "2024-01-02T03:04:05Z");
    assert_eq!((&row["Containers"], &row["Arch"], &row["Os"]), (&json!(0), &json!("amd64"), &json!("linux")));
    assert!(row["Size"].is_u64() && row["SharedSize"].is_u64() && row["RepoDigests"][0].is_string());
    let (root, run) = (world.root(), world.runroot());
    let globals = ["--root", root.to_str().unwrap(), "--runroot", run.to_str().unwrap()];
    let docker = world.named("docker", [&globals[..], &["images", "--format", "json"]].concat());
    for line in docker.succeeds().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        assert_eq!(row["CreatedAt"], "2024-01-02 03:04:05 +0000 UTC");
        assert!(row.as_object().unwrap().values().all(Value::is_string), "{row}");
    }
    let table =
        world.loment(["images", "--digests", "--format", "table {{.ID}}\\t{{.Digest}}\\t{{.ReadOnly}}"]);
    assert!(table.succeeds().starts_with("IMAGE ID") && table.stdout.contains("sha256:"), "{table}");
}

#[test]
fn inspect_shows_all_that_an_image_says() {
    let family = family();
    let world = &family.world;
    let shown = world.loment(["image", "inspect", &family.child, &family.base]);
    let document: Value = serde_json::from_str(shown.succeeds()).unwrap();
    let (child, base) = (&document[0], &document[1]);
    assert_eq!(child["ManifestType"], "application/vnd.docker.distribution.manifest.v2+json");
    assert_eq!(base["ManifestType"], "application/vnd.oci.image.manifest.v1+json");
    let health = json!({ "Test": ["CMD", "true"], "Interval": 5_000_000_000u64, "Retries": 3 });
    assert_eq!(child["Healthcheck"], health);
    assert_eq!(base.get("Healthcheck"), None);
    assert_eq!(child["Config"]["OnBuild"], json!(["RUN x"]));
    assert_eq!(child["Config"]["Shell"], json!(["/bin/ash", "-c"]));
    assert_eq!(child["Config"]["ExposedPorts"], json!({ "80/tcp": {} }));
    assert_eq!(base["Config"].get("Volumes"), None);
    assert_eq!(child["NamesHistory"], json!([family.child]));
    assert_eq!(child["History"][1]["created_by"], "layer 1");
    assert_eq!(child["RootFS"]["Layers"].as_array().unwrap().len(), 2);
    let data = &child["GraphDriver"]["Data"];
    assert!(data["UpperDir"].as_str().unwrap().starts_with(world.root().to_str().unwrap()), "{data}");
    assert!(data["LowerDir"].is_string() && base["GraphDriver"]["Data"].get("LowerDir").is_none());
    assert_eq!(world.inspect("{{.Config.StopSignal}}", &family.child), "SIGINT");
    // Templates see what json leaves out.
    assert_eq!(world.inspect("{{.Config.User}}|{{len .Config.OnBuild}}", &family.base), "|0");
    let (root, run) = (world.root(), world.runroot());
    let docker =
        ["--root", root.to_str().unwrap(), "--runroot", run.to_str().unwrap(), "inspect", &family.child];
    let docker: Value = serde_json::from_str(world.named("docker", docker).succeeds()).unwrap();
    assert!(docker[0]["Id"].as_str().unwrap().starts_with("sha256:"));
    assert!(docker[0]["Metadata"]["LastTagTime"].is_string() && docker[0].get("NamesHistory").is_none());
    assert_eq!(docker[0]["Config"]["Healthcheck"], health);
}

#[test]
fn the_digest_of_an_image_is_that_of_its_own_manifest() {
    let (world, image) = world_with("multi:latest");
    let registry = fixtures().serve();
    let index = registry.digest_of("multi", "latest");
    let own = world.inspect("{{.Digest}}", &image);
    assert_ne!(own, index);
    let (repository, _) = image.rsplit_once(':').unwrap();
    let digests = world.inspect("{{range .RepoDigests}}{{.}} {{end}}", &image);
    for digest in [&own, &index] {
        assert!(digests.contains(&format!("{repository}@{digest} ")), "{digests}");
    }
}

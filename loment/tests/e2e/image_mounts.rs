//! `image mount` and `image unmount`.

use std::fs;

use loment_testkit::{Compression, Config, Entry, Image, Layer, Layout, Registry, Variant, World};

use crate::{fixtures, world};

fn pull(world: &World, form: &str, name: &str) {
    world.loment(["--storage-opt", form, "pull", "-q", "--tls-verify=false", name]).succeeds();
}

#[test]
fn a_mounted_image_shows_its_files_and_nothing_else() {
    let base = Layer::of([
        Entry::dir("tmp").mode(0o1777).owner(0, 50),
        Entry::file("gone", "x"),
        Entry::file("both", "old").owner(7, 8),
    ]);
    let top = Layer::of([Entry::file("tmp/x", "x"), Entry::whiteout("gone"), Entry::file("both", "new")]);
    let scratch = world();
    let mut layout = Layout::create(&scratch.path("layout"));
    layout.add("two", &Image::new(Config::shell(), [base.into(), top.into()]), Compression::Gzip);
    layout.add(
        "one",
        &Image::new(Config::shell(), [Layer::of([Entry::file("f", "1")]).into()]),
        Compression::Zstd,
    );
    let registry = Registry::empty();
    for tag in ["one", "two"] {
        layout.push(tag, &registry.name(&format!("shown:{tag}")), Variant::AsIs);
    }
    for form in ["loment.form=erofs", "loment.form=dir"] {
        let world = world();
        let (one, two) = (registry.name("shown:one"), registry.name("shown:two"));
        pull(&world, form, &one);
        pull(&world, form, &two);
        let path = world.loment(["image", "mount", &two]).succeeds().to_owned();
        let mut names: Vec<_> = fs::read_dir(&path).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["both", "tmp"], "{form}");
        assert_eq!(fs::read_to_string(format!("{path}/both")).unwrap(), "new");
        let tmp = fs::metadata(format!("{path}/tmp")).unwrap();
        use std::os::unix::fs::MetadataExt;
        assert_eq!((tmp.mode() & 0o7777, tmp.gid()), (0o1777, 50), "{form}");
        let refused = fs::write(format!("{path}/new"), "x").unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        // Counted; the last one unmounts it.
        assert_eq!(world.loment(["image", "mount", &two]).succeeds(), path);
        let listed = world.loment(["image", "mount", &one, &two]);
        let lines: Vec<&str> = listed.succeeds().lines().collect();
        assert_eq!(lines.len(), 2, "{listed}");
        assert!(lines[1].starts_with(&two) && lines[1].ends_with(&path), "{listed}");
        let id = world.inspect("{{.Id}}", &two);
        for _ in 0..2 {
            assert_eq!(world.loment(["image", "unmount", &two]).succeeds(), id);
            assert!(fs::exists(format!("{path}/both")).unwrap());
        }
        world.loment(["image", "umount", &two]).succeeds();
        assert!(!fs::exists(&path).unwrap());
        assert_eq!(world.loment(["image", "unmount", &two]).succeeds(), "");
        let json = world.loment(["image", "mount", "--format", "json"]);
        let json: serde_json::Value = serde_json::from_str(json.succeeds()).unwrap();
        assert_eq!(json[0]["Repositories"][0], one);
        assert_eq!(json.as_array().unwrap().len(), 1);
        world.loment(["image", "unmount", "--all"]).succeeds();
        assert_eq!(world.loment(["image", "mount"]).succeeds(), "");
    }
}

#[test]
fn a_mounted_image_is_not_removed_from_under_its_users() {
    let world = world();
    let registry = fixtures().serve();
    let name = registry.name("busybox:latest");
    pull(&world, "loment.form=auto", &name);
    let path =
        world.loment(["image", "mount", "--all"]).succeeds().split_whitespace().last().unwrap().to_owned();
    world.loment(["rmi", &name]).fails_saying(125, &[&name, "is mounted", "--force"]);
    // In use: a plain request fails and changes nothing.
    let inside = fs::File::open(&path).unwrap();
    world.loment(["image", "unmount", &name]).fails_saying(125, &["busy"]);
    assert!(fs::exists(format!("{path}/bin")).unwrap());
    world.loment(["rmi", "--force", &name]).succeeds();
    assert!(!fs::exists(&path).unwrap());
    drop(inside);
    world.loment(["image", "mount", &name]).fails_saying(125, &[&name, "image not known"]);
    world.loment(["image", "mount", "--format", "yaml"]).fails_saying(125, &["yaml", "json"]);
}

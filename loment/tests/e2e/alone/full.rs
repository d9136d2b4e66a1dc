//! A full disk: what writes fails with one line and leaves nothing, what removes works.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use loment_testkit::{
    Compression, Config, Entry, Image, Layer, Layout, Output, Patience, Registry, Variant, World, run,
};

use super::in_namespace;
use crate::world;

#[test]
fn every_command_that_writes_fails_on_a_full_disk_and_leaves_nothing() {
    in_namespace("alone::full::helper_fills_the_disk");
}

struct Scene {
    world: World,
    registry: Registry,
}

impl Scene {
    fn disk(&self) -> PathBuf {
        self.world.path("disk")
    }

    #[track_caller]
    fn loment(&self, form: &str, arguments: &[&str]) -> Output {
        let mut command = self.world.bare();
        command.arg("--root").arg(self.disk().join("root")).arg("--runroot").arg(self.world.path("run"));
        command.args(["--storage-opt", &format!("loment.form={form}")]);
        run(command.args(arguments), Patience::NORMAL)
    }

    fn fill(&self) {
        let mut file = fs::File::create(self.disk().join("filler")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(self.disk().join("filler")).unwrap();
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.disk(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
#[ignore = "run by every_command_that_writes_fails_on_a_full_disk_and_leaves_nothing"]
fn helper_fills_the_disk() {
    let scene = Scene { world: world(), registry: Registry::empty() };
    fs::create_dir(scene.disk()).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(scene.disk());
    run(&mut mount, Patience::NORMAL).succeeds();
    let mut layout = Layout::create(&scene.world.path("layout"));
    let names = ["one", "two"].map(|name| {
        let layer = Layer::of([Entry::file(name, vec![1; 10_000])]);
        layout.add(name, &Image::new(Config::shell(), [layer.into()]), Compression::Gzip);
        let pushed = scene.registry.name(&format!("{name}:1"));
        layout.push(name, &pushed, Variant::AsIs);
        pushed
    });
    let [one, two] = names.each_ref().map(String::as_str);
    // More than there is room for, and known to be before any of it comes.
    let mut state = 1u64;
    let mut noise = || {
        for shift in [13, -7, 17] {
            state ^= if shift > 0 { state << shift } else { state >> -shift };
        }
        state.to_le_bytes()
    };
    let noise: Vec<u8> = (0..20 << 17).flat_map(|_| noise()).collect();
    let layer = Layer::of([Entry::file("large", noise)]);
    layout.add("large", &Image::new(Config::shell(), [layer.into()]), Compression::Gzip);
    let large = scene.registry.name("large:1");
    layout.push("large", &large, Variant::AsIs);
    // As an image that does not say how large its layers are: the registry says it.
    let other = Registry::with_schema1();
    let old = other.name("old:1");
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["--insecure-policy", "copy", "--quiet", "--format", "v2s1", "--src-tls-verify=false"]);
    skopeo.args(["--dest-tls-verify=false", &format!("docker://{large}"), &format!("docker://{old}")]);
    run(&mut skopeo, Patience::NORMAL).succeeds();
    let archive = scene.world.path("two.tar").display().to_string();
    let tar = scene.world.write("layer.tar", Layer::of([Entry::file("a", "a")]).into_bytes());
    let saved = scene.disk().join("saved.tar").display().to_string();
    for form in ["dir", "erofs"] {
        scene.loment(form, &["pull", "--quiet", two]).succeeds();
        let _ = fs::remove_file(&archive);
        scene.loment(form, &["save", "--output", &archive, two]).succeeds();
        scene.loment(form, &["rmi", two]).succeeds();
        scene.loment(form, &["pull", "--quiet", one]).succeeds();
        let output = scene.loment(form, &["pull", "--quiet", &large]);
        let root = scene.disk().join("root").display().to_string();
        output.fails_saying(125, &[&root, " bytes left, and at least 22", "no space left on device"]);
        // Kept as they come, and unpacked.
        let output = scene.loment(form, &["pull", "--quiet", &old]);
        output.fails_saying(125, &[&root, " bytes left, and at least 4", "no space left on device"]);
        scene.fill();
        let writing: [&[&str]; 6] = [
            &["pull", "--quiet", two],
            &["load", "--input", &archive],
            &["import", "--quiet", &tar, "imported:1"],
            &["tag", one, "new:1"],
            &["save", "--output", &saved, one],
            &["create", "--network", "none", one, "true"],
        ];
        for arguments in writing {
            let output = scene.loment(form, arguments);
            output.fails_saying(125, &["no space left on device"]);
            let lines = output.stderr.lines().filter(|line| line.starts_with("Error:")).count();
            assert_eq!(lines, 1, "{output}");
        }
        // To look is no damage, even where there is no room to compare.
        let check = scene.loment(form, &["system", "check"]);
        assert!(!check.stderr.contains("damage"), "{check}");
        scene.loment(form, &["system", "check", "--quick"]).succeeds();
        let listed = scene.loment(form, &["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        assert_eq!(listed.succeeds(), one);
        assert_eq!(scene.loment(form, &["ps", "-aq"]).succeeds(), "");
        scene.empty();
        let check = scene.loment(form, &["system", "check", "--max", "0"]);
        assert_eq!(check.succeeds(), "");
        assert!(!PathBuf::from(&saved).exists(), "half of an archive is left");
        scene.fill();
        scene.loment(form, &["untag", one]).succeeds();
        scene.loment(form, &["rmi", "--all"]).succeeds();
        assert_eq!(scene.loment(form, &["images", "-q"]).succeeds(), "");
        scene.empty();
        let check = scene.loment(form, &["system", "check", "--max", "0"]);
        assert!(check.succeeds().lines().all(|line| line.contains("/tombs/")), "{check}");
    }
}

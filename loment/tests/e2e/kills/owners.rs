//! Containers whose files have other owners: an ordinary user's with users of their own.

use std::fs;
use std::path::{Path, PathBuf};

use loment_testkit::{Faults, Ids, Patience, World, run};

use super::Scene;

#[test]
fn layers_with_other_owners_are_made_killed_before_every_change() {
    let world = World::of_user(Path::new(env!("CARGO_BIN_EXE_loment")), Ids::Many);
    let files = world.path("files");
    fs::create_dir_all(files.join("etc")).unwrap();
    fs::write(files.join("etc/file"), "content").unwrap();
    fs::hard_link(files.join("etc/file"), files.join("again")).unwrap();
    std::os::unix::fs::symlink("etc/file", files.join("link")).unwrap();
    let tar = world.path("files.tar");
    let mut pack = std::process::Command::new("tar");
    run(pack.arg("-cf").arg(&tar).arg("-C").arg(&files).arg("."), Patience::NORMAL).succeeds();
    world.loment(["import", "-q", &tar.display().to_string(), "small"]).succeeds();
    let kept = world.dir().join("kept");
    Scene::copy(&world.root(), &kept);
    let create = ["create", "--name", "c", "--network", "none", "--userns", "keep-id", "small", "true"];
    let faults = Faults::below([world.root()]);
    let all = faults.kill_before(u64::MAX, &mut world.command(create)).changes;
    assert!(all > 20, "{all} changes are too few to be all");
    let step = if std::env::var_os("LOMENT_ALL_KILLS").is_some() { 1 } else { 3 };
    for nth in (1..=all + 1).step_by(step) {
        Scene::copy(&kept, &world.root());
        let stopped = faults.kill_before(nth, &mut world.command(create));
        let when = format!("killed before change {nth}: {stopped:?}");
        let check = world.loment(["system", "check", "--max", "0"]);
        assert_eq!(check.code, 0, "{when}: {check}");
        let again = world.loment(create);
        assert!(
            again.code == 0 || stopped.before.is_none() || again.stderr.contains("in use"),
            "{when}: {again}"
        );
        let out = world.path("out");
        let copied = world.loment(["cp", "c:/again", &out.display().to_string()]);
        assert_eq!(copied.code, 0, "{when}: {copied}");
        assert_eq!(fs::read_to_string(&out).unwrap(), "content", "{when}");
        world.loment(["rm", "-f", "--all"]).succeeds();
        world.loment(["image", "prune", "-f"]).succeeds();
        let left: Vec<PathBuf> = ["shifted", "staging", "containers"]
            .into_iter()
            .flat_map(|dir| fs::read_dir(world.root().join(dir)).into_iter().flatten())
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(left, Vec::<PathBuf>::new(), "{when}");
    }
}

//! Secrets.

use std::fs;

use super::Scene;

const BYTES: &str = "bytes-of-a-secret-77ab";

impl Scene {
    /// As `kill_everywhere`. In the end, when all secrets are removed, nothing of them is there.
    fn kill_secrets(&self, arguments: &[&str], again: &[i32], holds: &dyn Fn(&str)) {
        self.at_every_change(500, arguments, &|_, when| {
            self.loment(&["secret", "ls"]).succeeds();
            let output = self.loment(arguments);
            assert!(output.code == 0 || again.contains(&output.code), "{when}: {output}");
            holds(when);
            self.loment(&["secret", "rm", "--all"]).succeeds();
            // What was left half made goes with the next change.
            self.loment(&["secret", "rm", "--ignore", "nonesuch"]).succeeds();
            let left = fs::read_dir(self.root().join("secrets")).map_or(0, Iterator::count);
            assert_eq!(left, 0, "{when}");
        });
    }

    fn shown(&self, when: &str) -> String {
        let inspect = ["secret", "inspect", "--showsecret", "--format", "{{.SecretData}}", "s"];
        let output = self.loment(&inspect);
        assert_eq!(output.code, 0, "{when}: {output}");
        output.stdout.trim().to_owned()
    }
}

#[test]
fn secrets_are_made_and_removed_killed_before_every_change() {
    let scene = Scene::new("dir");
    let (old, new) = (scene.world.write("old", "old"), scene.world.write("new", BYTES));
    // The second time there is one, or none.
    scene
        .kill_secrets(&["secret", "create", "s", &new], &[125], &|when| assert_eq!(scene.shown(when), BYTES));
    scene.loment(&["secret", "create", "s", &old]).succeeds();
    scene.kill_secrets(&["secret", "create", "--replace", "s", &new], &[], &|when| {
        assert_eq!(scene.shown(when), BYTES, "{when}");
        assert_eq!(scene.loment(&["secret", "ls", "--quiet"]).succeeds().lines().count(), 1, "{when}");
    });
    scene.kill_secrets(&["secret", "rm", "s"], &[125], &|when| {
        assert_eq!(scene.loment(&["secret", "exists", "s"]).code, 1, "{when}");
    });
}

/// A secret that is replaced is at every moment the old one or the new one.
#[test]
fn one_that_is_replaced_is_never_neither() {
    let scene = Scene::new("dir");
    let (old, new) = (scene.world.write("old", "old"), scene.world.write("new", BYTES));
    scene.loment(&["secret", "create", "s", &old]).succeeds();
    scene.at_every_change(500, &["secret", "create", "--replace", "s", &new], &|_, when| {
        let now = scene.shown(when);
        assert!(now == "old" || now == BYTES, "{when}: {now}");
    });
}

/// What another program keeps goes, too, when we are killed before there is a secret of that name, or after there is none.
#[test]
fn secrets_that_others_keep_killed_before_every_change() {
    let scene = Scene::new("dir");
    let new = scene.world.write("new", BYTES);
    let kept = scene.world.path("kept");
    fs::create_dir(&kept).unwrap();
    let at = format!("{}/$SECRET_ID", kept.display());
    let options = format!("store=cat >{at},lookup=cat {at} 2>/dev/null,delete=rm {at} 2>/dev/null,list=true");
    let create = ["secret", "create", "--driver", "shell", "--driver-opts", &options, "s", &new];
    scene.kill_secrets(&create, &[125], &|when| {
        assert_eq!(scene.shown(when), BYTES);
        assert_eq!(fs::read_dir(&kept).unwrap().count(), 1, "{when}");
    });
    assert_eq!(fs::read_dir(&kept).unwrap().count(), 0);
}

#[test]
fn a_container_with_secrets_killed_before_every_change() {
    let scene = Scene::new("dir");
    let file = scene.world.write("new", BYTES);
    scene.loment(&["pull", "--quiet", &scene.name(0)]).succeeds();
    scene.loment(&["secret", "create", "s", &file]).succeeds();
    let create = ["create", "--network", "none", "--name", "c", "--secret", "s", &scene.name(0), "true"];
    scene.at_every_change(1000, &create, &|_, when| {
        scene.loment(&["ps", "-a", "-q"]).succeeds();
        let again = scene.loment(&create);
        assert!([0, 125].contains(&again.code), "{when}: {again}");
        let ids = scene.loment(&["ps", "-a", "-q", "--no-trunc"]).succeeds().to_owned();
        let copy = scene.root().join("containers").join(&ids).join("secrets/0");
        assert_eq!(fs::read_to_string(&copy).ok().as_deref(), Some(BYTES), "{when}: {ids}");
        scene.loment(&["rm", "--force", "--all"]).succeeds();
        let left = fs::read_dir(scene.root().join("containers")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{when}");
    });
}

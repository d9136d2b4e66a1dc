//! The same of pods, and of containers in them.

use super::life::{Life, STAYS, Story};

const POD: &[&str] = &["pod", "create", "--name", "p"];
const MEMBER: &[&str] = &["create", "--pod", "p", "--name", "one", "IMAGE", "sh", "-c", STAYS];

fn tell(before: &[&[&str]], command: &[&str], again: &[i32]) {
    let life = Life::new();
    life.tell(&Story { before, command, again }, &|when| {
        for word in ["start", "stop"] {
            if life.loment(&["pod", "exists", "p"]).code == 0
                && life.loment(&["container", "exists", "one"]).code == 0
            {
                let done = life.loment(&["pod", word, "p"]);
                assert_eq!(done.code, 0, "{when}: {done}");
            }
        }
    });
}

#[test]
fn pod_create_killed_at_every_change() {
    tell(&[], POD, &[125]);
    tell(&[], &["pod", "create", "--name", "p", "--share", "+pid", "--memory", "200m"], &[125]);
}

#[test]
fn a_member_is_made_killed_at_every_change() {
    tell(&[POD], MEMBER, &[125]);
    tell(&[], &["run", "-d", "--pod", "new:p", "--name", "one", "IMAGE", "sh", "-c", STAYS], &[125]);
}

#[test]
fn pod_start_killed_at_every_change() {
    tell(&[POD, MEMBER], &["pod", "start", "p"], &[]);
    let shared = &["pod", "create", "--name", "p", "--share", "+pid", "--memory", "200m"];
    tell(&[shared, MEMBER], &["pod", "start", "p"], &[]);
}

#[test]
fn pod_stop_killed_at_every_change() {
    tell(&[POD, MEMBER, &["pod", "start", "p"]], &["pod", "stop", "p"], &[]);
    let ends = &["pod", "create", "--name", "p", "--exit-policy", "stop"];
    tell(&[ends, MEMBER, &["pod", "start", "p"]], &["stop", "one"], &[]);
}

#[test]
fn pod_rm_killed_at_every_change() {
    tell(&[POD, MEMBER], &["pod", "rm", "p"], &[1, 125]);
    tell(&[POD, MEMBER, &["pod", "start", "p"]], &["pod", "rm", "--force", "--time", "0", "p"], &[]);
}

#[test]
fn pod_clone_killed_at_every_change() {
    let life = Life::new();
    let story = Story { before: &[POD, MEMBER], command: &["pod", "clone", "p", "q"], again: &[125] };
    life.tell(&story, &|when| {
        // All of it was there the first time, or nothing.
        let names = ["ps", "-a", "--filter", "pod=q", "--sort", "names", "--format", "{{.Names}}"];
        let names = life.loment(&names).succeeds().to_owned();
        assert!(names.ends_with("-infra\none-clone") && names.lines().count() == 2, "{when}: {names}");
        for name in ["one", "one-clone"] {
            assert_eq!(life.loment(&["start", name]).code, 0, "{when}");
        }
    });
}

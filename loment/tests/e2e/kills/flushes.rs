//! Disks that find out only when they are flushed that there is no room, or that they are broken.

use super::Scene;
use loment_testkit::Faults;

/// Each flush of a pull fails once: it says so, nothing half made is to be seen, and the next pull succeeds.
fn flushes(form: &str) {
    let scene = Scene::new(form);
    let name = scene.name(0);
    let pull = ["pull", "--quiet", &name];
    let names = || {
        let names = scene.loment(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        // Of an image that has no name yet all is there, or it is damage.
        let named = names.succeeds().lines().filter(|name| *name != "<none>:<none>");
        named.map(str::to_owned).collect::<Vec<_>>()
    };
    let faults = Faults::below([scene.root()]);
    for (errno, words) in [(28, "no space left on device"), (5, "input/output error")] {
        let mut failures = 0;
        for nth in 1.. {
            assert!(nth < 1000, "it never comes to its end");
            let ended = faults.fail_flush(nth, errno, &mut scene.command(&pull));
            let when = format!("flush {nth}: {ended:?}");
            let check = scene.loment(&["system", "check", "--max", "0"]);
            assert_eq!(check.code, 0, "{when}: {check}");
            if ended.code == Some(0) {
                assert_eq!(names(), [name.as_str()], "{when}");
            } else {
                failures += 1;
                assert_eq!(ended.code, Some(125), "{when}");
                assert!(ended.stderr.contains(words), "{when}");
                let lines = ended.stderr.lines().filter(|line| line.starts_with("Error:")).count();
                assert_eq!(lines, 1, "{when}");
                // If it is seen, all of it is.
                assert!(names().is_empty() || names() == [name.as_str()], "{when}");
                assert!(ended.failed.is_some(), "{when}");
            }
            scene.loment(&pull).succeeds();
            let check = scene.loment(&["system", "check", "--max", "0"]);
            assert_eq!((check.code, names()), (0, vec![name.clone()]), "{when}: {check}");
            scene.loment(&["rmi", "--all", "--force"]).succeeds();
            scene.loment(&["image", "prune", "--force"]).succeeds();
            assert!(scene.left().is_empty(), "{when}: {:?}", scene.left());
            if ended.failed.is_none() {
                break;
            }
        }
        assert!(failures > 4, "{failures} flushes of a pull matter");
    }
}

#[test]
fn a_pull_into_directories_whose_flushes_fail() {
    flushes("dir");
}

#[test]
fn a_pull_into_images_whose_flushes_fail() {
    flushes("erofs");
}

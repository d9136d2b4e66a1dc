//! On an ordinary directory that looks like the file system; new directories in it get no files by themselves.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

/// What the kernel puts into a class.
const FILES: [&str; 2] = ["tasks", "schemata"];

struct Fake {
    dir: TempDir,
    resctrl: Resctrl,
}

impl Fake {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = open_dir(CWD, dir.path()).unwrap();
        let fake = Self { dir, resctrl: Resctrl { root } };
        fake.fill("");
        fs::create_dir(fake.path("info")).unwrap();
        fs::write(fake.path("info/last_cmd_status"), "ok\n").unwrap();
        fake
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Gives a class what the kernel gives it.
    fn fill(&self, class: &str) {
        fs::create_dir_all(self.path(class).join("mon_groups")).unwrap();
        for file in FILES {
            fs::write(self.path(class).join(file), "").unwrap();
        }
        fs::write(self.path(class).join("schemata"), "    L3:0=00ff;1=00ff\n    MB:0=100;1=100\n").unwrap();
    }

    /// Takes that away again, as the kernel does when the directory goes.
    fn empty(&self, class: &str) {
        fs::remove_dir(self.path(class).join("mon_groups")).unwrap();
        FILES.iter().for_each(|file| fs::remove_file(self.path(class).join(file)).unwrap());
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    /// The directories at the top, without those that are always there.
    fn classes(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap());
        let dirs = entries.filter(|e| e.file_type().unwrap().is_dir());
        let names = dirs.map(|e| e.file_name().into_string().unwrap());
        names.filter(|name| !RESERVED.contains(&name.as_str())).collect()
    }
}

fn rdt(document: serde_json::Value) -> Rdt {
    Rdt::new(&serde_json::from_value(document).unwrap()).unwrap()
}

fn refused(document: serde_json::Value) -> String {
    Rdt::new(&serde_json::from_value(document).unwrap()).unwrap_err().to_string()
}

#[test]
fn names_and_lines_that_could_mean_something_else_are_refused() {
    for bad in ["..", ".", "a/b", "/a", "//", "a\nb", "info", "mon_groups", "mon_data"] {
        let error = refused(serde_json::json!({ "closID": bad }));
        assert!(error.starts_with("invalid linux.intelRdt.closID"), "{error}");
    }
    refused(serde_json::json!({ "memBwSchema": "L3:0=f" }));
    refused(serde_json::json!({ "memBwSchema": "MB:0=20\nL3:0=f" }));
    refused(serde_json::json!({ "schemata": ["L3:0=f\nMB:0=20"] }));
    refused(serde_json::json!({ "schemata": [""] }));
    let filtered = rdt(serde_json::json!({ "l3CacheSchema": "L3:0=f\nMB:0=1", "memBwSchema": "MB:0=20" }));
    assert_eq!(filtered.limits, ["L3:0=f", "MB:0=20"]);
}

#[test]
fn a_class_that_says_nothing_must_exist() {
    let fake = Fake::new();
    let asked = rdt(serde_json::json!({ "closID": "gold" }));
    let error = fake.resctrl.make(&asked, "c1").unwrap_err();
    assert!(matches!(error, Error::Missing { ref class } if class == "gold"), "{error}");
    assert_eq!(fake.classes(), [""; 0]);
    fake.fill("gold");
    let member = fake.resctrl.make(&asked, "c1").unwrap();
    assert!(!member.own && member.monitor.is_none());
    fake.resctrl.remove(&member).unwrap();
    assert_eq!(fake.classes(), ["gold"]);
}

#[test]
fn an_existing_class_must_have_what_is_asked_for() {
    let fake = Fake::new();
    fake.fill("gold");
    let other = rdt(serde_json::json!({ "closID": "gold", "l3CacheSchema": "L3:0=ff;1=f" }));
    let error = fake.resctrl.make(&other, "c1").unwrap_err().to_string();
    assert!(error.contains(r#"class "gold" has "L3:0=00ff;1=00ff", not "L3:0=ff;1=f""#), "{error}");
    let same = rdt(
        serde_json::json!({ "closID": "gold", "l3CacheSchema": "L3:1=ff;0=ff", "memBwSchema": "MB:0=100" }),
    );
    let member = fake.resctrl.make(&same, "c1").unwrap();
    fake.resctrl.remove(&member).unwrap();
    assert_eq!(fake.classes(), ["gold"]);
}

#[test]
fn a_class_of_the_containers_own_goes_with_it() {
    let fake = Fake::new();
    let member = fake.resctrl.make(&rdt(serde_json::json!({})), "c1").unwrap();
    assert!(member.own);
    assert_eq!(fake.classes(), ["c1"]);
    // As it is read again later.
    let member: Membership = serde_json::from_value(serde_json::to_value(&member).unwrap()).unwrap();
    fake.resctrl.remove(&member).unwrap();
    assert_eq!(fake.classes(), [""; 0]);
    // Twice is no error.
    fake.resctrl.remove(&member).unwrap();
}

#[test]
fn one_that_was_there_stays() {
    let fake = Fake::new();
    fake.fill("c1");
    let member = fake.resctrl.make(&rdt(serde_json::json!({ "schemata": ["L3:0=f"] })), "c1").unwrap();
    assert!(!member.own);
    assert!(fake.text("c1/schemata").starts_with("L3:0=f\n"));
    fake.resctrl.remove(&member).unwrap();
    assert_eq!(fake.classes(), ["c1"]);
    // A container that is not made after all leaves it as it was.
    fs::write(fake.path("c1/schemata"), "").unwrap();
    fake.resctrl.undo(&member);
    assert_eq!(fake.text("c1/schemata"), "L3:0=00ff;1=00ff\nMB:0=100;1=100\n");
}

#[test]
fn what_is_made_is_undone_when_the_rest_fails() {
    let fake = Fake::new();
    for asked in [
        serde_json::json!({ "schemata": ["L3:0=f"] }),
        serde_json::json!({ "closID": "gold", "memBwSchema": "MB:0=20" }),
        serde_json::json!({ "enableMonitoring": true }),
    ] {
        // A new directory has no files here: neither schemata nor mon_groups can be opened.
        fake.resctrl.make(&rdt(asked), "c1").unwrap_err();
        assert_eq!(fake.classes(), [""; 0]);
    }
}

#[test]
fn lines_are_written_in_the_order_of_the_specification() {
    let fake = Fake::new();
    let asked = rdt(serde_json::json!({
        "schemata": ["L2:0=f", "L3:0=1"], "memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=f",
    }));
    let mut member = fake.resctrl.choose_class(&asked, "c1").unwrap();
    fake.fill("c1");
    fs::write(fake.path("c1/schemata"), "").unwrap();
    fake.resctrl.furnish(&mut member, &asked, "c1").unwrap();
    assert_eq!(fake.text("c1/schemata"), "L3:0=f\nMB:0=20\nL2:0=f\nL3:0=1\n");
    assert!(member.own && member.before.is_none());
    fs::write(fake.path("c1/schemata"), "").unwrap();
    fake.resctrl.update(&member, Some("L3:0=3"), None).unwrap();
    assert_eq!(fake.text("c1/schemata"), "L3:0=3\n");
    fake.resctrl.update(&member, None, Some("L3:0=3")).unwrap_err();
}

#[test]
fn a_process_becomes_a_member_of_the_class_and_then_of_its_monitoring_group() {
    let fake = Fake::new();
    fake.fill("gold");
    let asked = rdt(serde_json::json!({ "closID": "gold", "enableMonitoring": true }));
    let member = fake.resctrl.make(&asked, "c1").unwrap();
    assert!(fake.path("gold/mon_groups/c1").is_dir());
    fs::write(fake.path("gold/mon_groups/c1/tasks"), "").unwrap();
    let tasks = fake.resctrl.tasks(&member).unwrap();
    assert_eq!(tasks.len(), 2);
    join(&tasks).unwrap();
    assert_eq!((fake.text("gold/tasks"), fake.text("gold/mon_groups/c1/tasks")), ("0".into(), "0".into()));
    // Nobody else has that group.
    let error = fake.resctrl.make(&asked, "c1").unwrap_err();
    assert!(error.to_string().contains("make monitoring group c1"), "{error}");
    fs::remove_file(fake.path("gold/mon_groups/c1/tasks")).unwrap();
    fake.resctrl.remove(&member).unwrap();
    assert!(!fake.path("gold/mon_groups/c1").exists() && fake.path("gold").exists());
}

#[test]
fn the_default_class_is_the_top() {
    let fake = Fake::new();
    let member = fake.resctrl.make(&rdt(serde_json::json!({ "closID": "/" })), "c1").unwrap();
    join(&fake.resctrl.tasks(&member).unwrap()).unwrap();
    assert_eq!(fake.text("tasks"), "0");
    fake.resctrl.remove(&member).unwrap();
    let other = rdt(serde_json::json!({ "closID": "/", "memBwSchema": "MB:0=10" }));
    assert!(matches!(fake.resctrl.make(&other, "c1").unwrap_err(), Error::Differs { .. }));
}

#[test]
fn links_are_not_followed_and_ids_are_no_other_directories() {
    let fake = Fake::new();
    let outside = tempfile::tempdir().unwrap();
    FILES.iter().for_each(|file| fs::write(outside.path().join(file), "").unwrap());
    std::os::unix::fs::symlink(outside.path(), fake.path("link")).unwrap();
    for asked in [
        serde_json::json!({ "closID": "link" }),
        serde_json::json!({ "closID": "link", "schemata": ["L3:0=f"] }),
    ] {
        fake.resctrl.make(&rdt(asked), "c1").unwrap_err();
    }
    assert_eq!(fs::read_to_string(outside.path().join("schemata")).unwrap(), "");
    for id in RESERVED {
        let error = fake.resctrl.make(&rdt(serde_json::json!({})), id).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
    }
}

#[test]
fn what_the_kernel_says_is_told() {
    let fake = Fake::new();
    fs::write(fake.path("info/last_cmd_status"), "Out of CLOSIDs\n").unwrap();
    fake.fill("gold");
    fs::remove_file(fake.path("gold/schemata")).unwrap();
    fs::create_dir(fake.path("gold/schemata")).unwrap();
    let gold = open_dir(&fake.resctrl.root, "gold").unwrap();
    let error = fake.resctrl.write_schemata(&gold, &["L3:0=f".to_owned()]).unwrap_err().to_string();
    assert!(
        error.ends_with(r#"write to schemata "L3:0=f" in the resctrl file system (Out of CLOSIDs)"#),
        "{error}"
    );
}

#[test]
fn what_a_killed_creator_left_is_removed_unless_it_is_in_use() {
    let fake = Fake::new();
    let own = rdt(serde_json::json!({}));
    fake.fill("used");
    fs::write(fake.path("used/tasks"), "42\n").unwrap();
    fake.resctrl.abandon(&own, "used");
    fake.fill("gold");
    fake.resctrl.abandon(&rdt(serde_json::json!({ "closID": "gold" })), "c1");
    fake.resctrl.abandon(&own, "info");
    let mut left = fake.classes();
    left.sort();
    assert_eq!(left, ["gold", "used"]);
    fake.fill("c1");
    fake.empty("c1");
    fs::create_dir(fake.path("gold/mon_groups/c1")).unwrap();
    fake.resctrl.abandon(&rdt(serde_json::json!({ "closID": "gold", "enableMonitoring": true })), "c1");
    assert!(!fake.path("gold/mon_groups/c1").exists());
}

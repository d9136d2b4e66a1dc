//! AppArmor profiles confine what a container runs, whatever the container makes of its `/proc`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use loment_testkit::{Output, Patience, World, run};
use serde_json::{Value, json};

use crate::limits::groups_left;
use crate::{ID, Running, SLEEP, bundle, configure, map_users, runtime, world};

/// Everything is allowed but writing below `/denied`.
const RULES: &str = "file, capability, network, mount, umount, signal, ptrace, unix, deny /denied/** w,";

/// What is confined says its label, cannot write there, but elsewhere.
const SCRIPT: &str = "cat /proc/self/attr/current; echo x 2>/dev/null >/denied/made && echo free; \
                      echo x >/tmp/made && echo ran";

/// A profile that is in the kernel as long as this lives.
struct Profile {
    name: &'static str,
    file: String,
}

impl Profile {
    #[track_caller]
    fn load(world: &World, name: &'static str) -> Self {
        let flags = "flags=(attach_disconnected,mediate_deleted)";
        let file = world.write(name, format!("profile {name} {flags} {{ {RULES} }}\n"));
        let profile = Self { name, file };
        run(&mut profile.parser("--replace"), Patience::NORMAL).succeeds();
        profile
    }

    fn parser(&self, action: &str) -> Command {
        let mut parser = Command::new("apparmor_parser");
        parser.args(["--skip-cache", action, &self.file]);
        parser
    }

    /// What a program with it sees as its label, and its success in [`SCRIPT`].
    fn confines(&self) -> String {
        format!("{} (enforce)\nran", self.name)
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        // The machine ends soon; a profile that is still in use is the test's failure, not this one's.
        drop(self.parser("--remove").output());
    }
}

/// A world with the directory that may not be written.
#[track_caller]
fn prepared() -> (World, String) {
    let (world, fs) = world();
    let denied = world.path("fs/denied");
    fs::create_dir(&denied).unwrap();
    // Only the profile is in anybody's way.
    fs::set_permissions(denied, fs::Permissions::from_mode(0o777)).unwrap();
    (world, fs)
}

#[track_caller]
fn run_once(world: &World, dir: &str) -> Output {
    runtime(world, &["run", "--bundle", dir, ID])
}

/// `exec FLAGS ID sh -c SCRIPT`.
#[track_caller]
fn exec(world: &World, flags: &[&str]) -> Output {
    runtime(world, &[&["exec"], flags, &[ID, "/bin/sh", "-c", SCRIPT]].concat())
}

/// What a process of the container is confined by, asked from outside.
#[track_caller]
fn label(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/attr/apparmor/current")).unwrap().trim().to_owned()
}

/// Nothing of [`ID`] is there.
#[track_caller]
fn nothing_left(world: &World) {
    runtime(world, &["state", ID]).fails(1);
    assert_eq!(groups_left(world), [""; 0]);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_and_what_is_run_in_it_later_are_confined() {
    let (world, fs) = prepared();
    let first = Profile::load(&world, "loment-vm-first");
    let second = Profile::load(&world, "loment-vm-second");
    for no_new_privileges in [false, true] {
        for (uid, filter) in [(0, false), (1000, true)] {
            let what = format!("no_new_privs {no_new_privileges}, user {uid}, filter {filter}");
            let dir = bundle(&world, &fs, SCRIPT, &json!({}));
            let set = |c: &mut Value| {
                c["process"]["apparmorProfile"] = json!(first.name);
                c["process"]["noNewPrivileges"] = json!(no_new_privileges);
                c["process"]["user"]["uid"] = json!(uid);
                if filter {
                    let refused = json!([{ "names": ["sethostname"], "action": "SCMP_ACT_ERRNO" }]);
                    c["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": refused });
                }
            };
            configure(&dir, set);
            drop(fs::remove_file(world.path("fs/tmp/made")));
            assert_eq!(run_once(&world, &dir).succeeds(), first.confines(), "{what}");

            configure(&dir, |c| c["process"]["args"][2] = json!(SLEEP));
            let (_container, pid) = Running::over(&world, &dir);
            assert_eq!(label(pid), format!("{} (enforce)", first.name), "{what}");
            assert_eq!(exec(&world, &[]).succeeds(), first.confines(), "{what}");
            let other = exec(&world, &["--apparmor", second.name]);
            assert_eq!(other.succeeds(), second.confines(), "{what}");
            let without = exec(&world, &["--no-new-privs", "--apparmor", second.name]);
            assert_eq!(without.succeeds(), second.confines(), "{what}");
            let mut process: Value =
                serde_json::from_slice(&fs::read(format!("{dir}/config.json")).unwrap()).unwrap();
            process["process"]["args"][2] = json!(SCRIPT);
            process["process"]["apparmorProfile"] = json!(second.name);
            let file = world.write("process.json", process["process"].to_string());
            let output = runtime(&world, &["exec", "--process", &file, ID]);
            assert_eq!(output.succeeds(), second.confines(), "{what}");
        }
    }
    assert!(!world.path("fs/denied/made").exists());
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_limit_of_descriptors_is_the_programs_own() {
    let (world, fs) = prepared();
    let profile = Profile::load(&world, "loment-vm-limit");
    let dir = bundle(&world, &fs, "", &json!({}));
    configure(&dir, |c| {
        c["process"]["apparmorProfile"] = json!(profile.name);
        c["process"]["args"] = json!(["/bin/cat", "/proc/self/attr/current"]);
        c["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 5, "hard": 5 }]);
    });
    assert_eq!(run_once(&world, &dir).succeeds(), format!("{} (enforce)", profile.name));
}

/// The control: without the profile it can be written, and runc's containers see the same label.
#[test]
#[ignore = "run by cargo xtask vm-test"]
fn runc_confines_by_the_same_profile() {
    let (world, fs) = prepared();
    let profile = Profile::load(&world, "loment-vm-runc");
    let dir = bundle(&world, &fs, SCRIPT, &json!({}));
    assert_eq!(run_once(&world, &dir).succeeds(), "unconfined\nfree\nran");
    configure(&dir, |c| c["process"]["apparmorProfile"] = json!(profile.name));
    let ours = run_once(&world, &dir).succeeds().to_owned();
    assert_eq!(runc_runs(&world, &dir).succeeds(), ours);
    assert_eq!(ours, profile.confines());
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_hook_in_the_container_is_confined_like_its_program() {
    let (world, fs) = prepared();
    let profile = Profile::load(&world, "loment-vm-hook");
    let dir = bundle(&world, &fs, "cat /tmp/hook", &json!({}));
    configure(&dir, |c| {
        c["process"]["apparmorProfile"] = json!(profile.name);
        let script = "cat /proc/self/attr/current >/tmp/hook; echo x >/denied/made; true";
        c["hooks"] = json!({ "startContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] });
    });
    assert_eq!(run_once(&world, &dir).succeeds(), format!("{} (enforce)", profile.name));
    assert!(!world.path("fs/denied/made").exists());
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_profile_that_is_not_loaded_is_named_and_leaves_nothing() {
    let (world, fs) = prepared();
    let dir = bundle(&world, &fs, SLEEP, &json!({ "pids": { "limit": 33 } }));
    let (container, pid) = Running::over(&world, &dir);
    exec(&world, &["--apparmor", "loment-vm-none"])
        .fails_saying(255, &["apply AppArmor profile loment-vm-none", "not loaded"]);
    assert_eq!(label(pid), "unconfined");
    exec(&world, &[]).succeeds();
    drop(container);
    configure(&dir, |c| c["process"]["apparmorProfile"] = json!("loment-vm-none"));
    for command in ["run", "create"] {
        let (output, said) = Running::attempt(&world, &[command, "--bundle", &dir, ID]);
        assert_eq!(output.code, 1, "{output}");
        let expected =
            "apply AppArmor profile loment-vm-none: it is not loaded: load it with apparmor_parser";
        assert_eq!(said, format!("loment-runtime: error: {expected}\n"));
        nothing_left(&world);
    }
}

/// In a user namespace the kernel mounts a procfs only for somebody who sees all of one; what the container itself has masked
/// is no hindrance.
#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_with_users_of_its_own_is_confined() {
    let (world, fs) = prepared();
    let profile = Profile::load(&world, "loment-vm-users");
    let dir = bundle(&world, &fs, SCRIPT, &json!({}));
    let masked = json!(["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/acpi"]);
    for masked in [json!([]), masked] {
        configure(&dir, |c| {
            if c["linux"]["uidMappings"].is_null() {
                map_users(c);
            }
            c["process"]["args"][2] = json!(SCRIPT);
            c["process"]["apparmorProfile"] = json!(profile.name);
            c["linux"]["maskedPaths"] = masked.clone();
            c["linux"]["readonlyPaths"] = json!(["/proc/bus", "/proc/sys"]);
        });
        drop(fs::remove_file(world.path("fs/tmp/made")));
        assert_eq!(run_once(&world, &dir).succeeds(), profile.confines(), "masked: {masked}");
        configure(&dir, |c| {
            c["process"]["args"][2] = json!(SLEEP);
            c["process"].as_object_mut().unwrap().remove("apparmorProfile");
        });
        let (_container, pid) = Running::over(&world, &dir);
        assert_eq!(label(pid), "unconfined");
        let output = exec(&world, &["--apparmor", profile.name]);
        assert_eq!(output.succeeds(), profile.confines(), "masked: {masked}");
    }
}

/// A directory with files where a label is written to.
fn fake_proc(world: &World) -> std::path::PathBuf {
    let fake = world.path("fake");
    for dir in ["self/attr/apparmor", "thread-self/attr/apparmor", "1/attr/apparmor", "1/task/1/attr"] {
        fs::create_dir_all(fake.join(dir)).unwrap();
    }
    for file in FAKES {
        fs::write(fake.join(file), "as it was").unwrap();
    }
    fake
}

const FAKES: [&str; 6] = [
    "self/attr/exec",
    "self/attr/apparmor/exec",
    "thread-self/attr/exec",
    "thread-self/attr/apparmor/exec",
    "1/attr/apparmor/exec",
    "1/task/1/attr/exec",
];

/// The image, or a volume, brings files that take what is meant for the kernel. Ours are written to a procfs of our own, so that
/// the program runs, confined; runc refuses all of these. In a user namespace there is no procfs of our own unless one can be
/// seen.
#[test]
#[ignore = "run by cargo xtask vm-test"]
fn cve_2019_16884_cve_2025_52881_a_false_proc_does_not_free_a_program() {
    for users in [false, true] {
        let (world, fs) = prepared();
        let profile = Profile::load(&world, "loment-vm-false");
        let fake = fake_proc(&world);
        let dir = bundle(&world, &fs, BLIND, &json!({}));
        configure(&dir, |c| {
            c["process"]["apparmorProfile"] = json!(profile.name);
            if users {
                map_users(c);
            }
        });
        let own: Value = serde_json::from_slice(&fs::read(format!("{dir}/config.json")).unwrap()).unwrap();
        let own = &own["mounts"].as_array().unwrap()[1..];
        for (how, mounts) in false_procs(&fake) {
            let real = world.path("fs/proc");
            match how {
                "the image's" => {
                    fs::remove_dir_all(&real).unwrap();
                    run(Command::new("cp").arg("-a").arg(&fake).arg(&real), Patience::NORMAL).succeeds();
                }
                "a link of the image's" => {
                    fs::remove_dir_all(&real).unwrap();
                    symlink(format!("/..{}{}", "/..".repeat(8), fake.display()), &real).unwrap();
                }
                _ => {}
            }
            configure(&dir, |c| c["mounts"] = json!([mounts.as_slice(), own].concat()));
            let ours = run_once(&world, &dir);
            if users && ["a volume", "empty", "the image's", "a link of the image's"].contains(&how) {
                ours.fails_saying(1, &["apply AppArmor profile", profile.name]);
            } else if users && how == "another file of procfs" {
                ours.fails_saying(1, &["mount /proc/self/sched"]);
            } else {
                assert_eq!(ours.succeeds(), "ran", "{how}");
            }
            assert!(!world.path("fs/denied/made").exists(), "{how}");
            for file in FAKES {
                assert_eq!(fs::read_to_string(fake.join(file)).unwrap(), "as it was", "{how}");
            }
            runc_runs(&world, &dir).fails(1);
        }
    }
}

/// [`SCRIPT`] without a look at procfs.
const BLIND: &str = "echo x 2>/dev/null >/denied/made && echo free; echo x >/tmp/made && echo ran";

/// Mounts of containers that do not see the kernel's files, or not those of their own processes.
fn false_procs(fake: &Path) -> [(&'static str, Vec<Value>); 9] {
    let proc = json!({ "destination": "/proc", "type": "proc", "source": "proc" });
    let empty = json!({ "destination": "/proc", "type": "tmpfs", "source": "tmpfs" });
    let on = |to: &str, from: &Path| json!({ "destination": to, "type": "bind", "source": from, "options": ["rbind"] });
    let file = fake.join("self/attr/exec");
    let thread = "/proc/thread-self/attr/apparmor/exec";
    [
        ("a volume", vec![on("/proc", fake)]),
        ("a volume over procfs", vec![proc.clone(), on("/proc", fake)]),
        ("empty", vec![empty]),
        ("a file over the process's", vec![proc.clone(), on("/proc/self/attr/apparmor/exec", &file)]),
        ("a file over the thread's", vec![proc.clone(), on(thread, &file)]),
        (
            "a directory over the process's",
            vec![proc.clone(), on("/proc/self/attr", &fake.join("self/attr"))],
        ),
        ("another file of procfs", vec![proc, on(thread, Path::new("/proc/self/sched"))]),
        ("the image's", vec![]),
        ("a link of the image's", vec![]),
    ]
}

/// The same by runc.
#[track_caller]
fn runc_runs(world: &World, dir: &str) -> Output {
    let mut runc = Command::new("runc");
    runc.arg("--root").arg(world.path("runc")).args(["run", "--bundle", dir, ID]);
    run(&mut runc, Patience::NORMAL)
}

/// The container replaces its own procfs, and waits for somebody to come.
#[test]
#[ignore = "run by cargo xtask vm-test"]
fn cve_2025_52881_what_enters_a_container_with_a_false_proc_is_confined() {
    for users in [false, true] {
        let (world, fs) = prepared();
        let profile = Profile::load(&world, "loment-vm-enter");
        let fakes: String =
            FAKES.map(|f| format!("mkdir -p $(dirname /proc/{f}); echo as it was >/proc/{f};")).concat();
        let dir = bundle(
            &world,
            &fs,
            &format!("mount -t tmpfs none /proc; {fakes} touch /proc/ready; {SLEEP}"),
            &json!({}),
        );
        configure(&dir, |c| {
            let all = json!(["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]);
            c["process"]["capabilities"] = json!({ "bounding": all, "effective": all, "permitted": all });
            c["linux"]["maskedPaths"] = json!(["/proc/kcore"]);
            if users {
                map_users(c);
            }
        });
        let (_container, pid) = Running::over(&world, &dir);
        let inside = |file: &str| Path::new(&format!("/proc/{pid}/root/proc")).join(file);
        crate::eventually("its procfs is false", || inside("ready").exists());
        let output = runtime(&world, &["exec", "--apparmor", profile.name, ID, "/bin/sh", "-c", BLIND]);
        assert_eq!(output.succeeds(), "ran", "own users: {users}");
        assert!(!world.path("fs/denied/made").exists());
        for file in FAKES {
            assert_eq!(fs::read_to_string(inside(file)).unwrap(), "as it was\n");
        }
        // Without a profile nothing is in its way.
        runtime(&world, &["exec", ID, "/bin/true"]).succeeds();
    }
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn profiles_are_among_the_features() {
    let (world, _) = world();
    let features: Value = serde_json::from_str(runtime(&world, &["features"]).succeeds()).unwrap();
    assert_eq!(features["linux"]["apparmor"]["enabled"], json!(true));
    assert_eq!(fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap(), "Y\n");
}

//! Escapes that other engines have had, tried on this one. Each test fails when the attack works.

mod own_file;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use loment_testkit::{Output, Patience, Terminal, World, run, skip};
use serde_json::{Value, json};

use crate::runtime::{bundle, id, runtime};
use crate::{eventually, sleeper, through, world, world_over_directory};

/// Descriptors that could be one of the host's directories while a program is looked up.
const DESCRIPTORS: std::ops::Range<u32> = 3..65;

/// `run --rm FLAGS --rootfs FS COMMAND`.
#[track_caller]
fn over(world: &World, flags: &[&str], fs: &str, command: &[&str]) -> Output {
    world.loment([&["run", "--rm", "--network", "none"], flags, &["--rootfs", fs], command].concat())
}

/// The path `/proc/self/fd/N/../../…` to a file of the host, for whoever has a directory of the host as descriptor N.
fn via_descriptor(n: u32, file: &Path) -> String {
    format!("/proc/self/fd/{n}{}{}", "/..".repeat(8), file.display())
}

/// A shell of the host, which needs nothing from the root file system it finds itself in.
fn host_program(world: &World) -> PathBuf {
    let dir = world.path("victim");
    fs::create_dir(&dir).unwrap();
    fs::copy("/bin/busybox", dir.join("sh")).unwrap();
    dir.join("sh")
}

/// In the root file system, programs that would be the host's: links `/x/N/sh` (the name tells busybox what to be) and
/// scripts `/x/N/script`.
fn plant(fs: &Path, program: &Path) -> Vec<String> {
    let mut planted = Vec::new();
    for n in DESCRIPTORS {
        let dir = fs.join(format!("x/{n}"));
        fs::create_dir_all(&dir).unwrap();
        symlink(via_descriptor(n, program), dir.join("sh")).unwrap();
        write_script(&dir.join("script"), &format!("#!{}\necho escaped\n", via_descriptor(n, program)));
        planted.extend([format!("/x/{n}/sh"), format!("/x/{n}/script")]);
    }
    planted
}

fn write_script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[track_caller]
fn did_not_run(output: &Output, statuses: &[i32]) {
    assert!(!output.stdout.contains("escaped"), "a program of the host ran: {output}");
    assert!(statuses.contains(&output.code), "{output}");
}

/// What is in a directory: type, rights, owner, size, last change and link of everything.
pub(crate) fn listing(dir: &Path) -> String {
    let format = "%P %y %#m %U:%G %s %C@ %l\n";
    let mut find = Command::new("find");
    let mut lines: Vec<_> = run(find.arg(dir).args(["-printf", format]), Patience::NORMAL)
        .succeeds()
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines.join("\n")
}

/// Replaces a bundle's configuration.
fn configure(bundle: &Path, edit: impl FnOnce(&mut Value)) {
    let file = bundle.join("config.json");
    let mut config = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    edit(&mut config);
    fs::write(file, serde_json::to_vec(&config).unwrap()).unwrap();
}

#[track_caller]
fn runtime_run(world: &World, bundle: &Path, test: &str) -> Output {
    runtime(world, &["run", "--bundle", bundle.to_str().unwrap(), &id(test)])
}

#[test]
fn cve_2024_21626_a_program_is_not_looked_up_through_descriptors_of_the_host_by_run() {
    let (world, fs) = world_over_directory();
    for program in plant(Path::new(&fs), &host_program(&world)) {
        did_not_run(&over(&world, &[], &fs, &[&program, "-c", "echo escaped"]), &[126, 127]);
    }
}

#[test]
fn cve_2024_21626_a_program_is_not_looked_up_through_descriptors_of_the_host_by_exec() {
    let (world, fs) = world_over_directory();
    sleeper(&world, "c", &["--rootfs"], &fs);
    for program in plant(Path::new(&fs), &host_program(&world)) {
        did_not_run(&world.loment(["exec", "c", &program, "-c", "echo escaped"]), &[126, 127]);
    }
}

#[test]
fn cve_2024_21626_a_program_is_not_looked_up_through_descriptors_of_the_host_by_the_runtime() {
    let world = world();
    let bundle = bundle(&world, "true", |_| ());
    for program in plant(&bundle.join("rootfs"), &host_program(&world)) {
        configure(&bundle, |c| c["process"]["args"] = json!([program, "-c", "echo escaped"]));
        let output = runtime_run(&world, &bundle, "descriptor");
        assert_ne!(output.code, 0, "{output}");
        did_not_run(&output, &[output.code]);
    }
}

#[test]
fn cve_2024_21626_the_working_directory_is_never_one_of_the_host() {
    let (world, fs) = world_over_directory();
    let secret = world.write("secret", "escaped");
    sleeper(&world, "c", &["--rootfs"], &fs);
    let dir = world.path("bundle");
    bundle(&world, "true", |_| ());
    for n in DESCRIPTORS {
        let script = format!(
            "cat ./{0} {1}{0} {1}/..{0} 2>/dev/null; exit 9",
            secret,
            format!("..{}", "/..".repeat(8))
        );
        for cwd in [format!("/proc/self/fd/{n}"), format!("/proc/self/fd/{n}{}", "/..".repeat(3))] {
            let output = over(&world, &["-w", &cwd], &fs, &["sh", "-c", &script]);
            assert!(!output.stdout.contains("escaped"), "{output}");
            let output = world.loment(["exec", "-w", &cwd, "c", "sh", "-c", &script]);
            assert!(!output.stdout.contains("escaped"), "{output}");
        }
        configure(&dir, |c| {
            c["process"]["args"] = json!(["/bin/sh", "-c", script]);
            c["process"]["cwd"] = json!(format!("/proc/self/fd/{n}"));
        });
        let output = runtime_run(&world, &dir, "cwd");
        assert!(!output.stdout.contains("escaped"), "{output}");
    }
}

/// Mounts in a mount namespace whose mounts are all shared, around a command.
#[track_caller]
fn keeps_shared_mounts(world: &World, name: &str, command: &Command) {
    let dir = world.path(name);
    fs::create_dir(&dir).unwrap();
    let script = format!(
        "mount --make-rprivate / && mount -t tmpfs nested {0} && mkdir {0}/in && mount -t tmpfs nested {0}/in && \
         mount --make-rshared / || exit 99\n\
         count() {{ wc -l </proc/self/mountinfo; }}; before=$(count); \"$@\" || exit 98; i=0\n\
         while [ $(count) != $before ] && [ $i -lt 30 ]; do sleep 0.1; i=$((i+1)); done\n\
         echo $(($(count) - before)) more; cut -d' ' -f5 /proc/self/mountinfo | grep -c '^{0}'",
        dir.display()
    );
    let output = run(&mut through(&["unshare", "-m", "sh", "-c", &script, "sh"], command), Patience::NORMAL);
    assert_eq!(output.succeeds(), "0 more\n2");
}

#[test]
fn shared_mounts_of_the_host_stay_whatever_the_propagation() {
    let (world, fs) = world_over_directory();
    keeps_shared_mounts(
        &world,
        "run",
        &world.command(["run", "--rm", "--network", "none", "--rootfs", &fs, "true"]),
    );
    let bundle = bundle(&world, "true", |_| ());
    // Makes the link by which the runtime is called.
    runtime(&world, &["--version"]).succeeds();
    for propagation in
        [None, Some("private"), Some("rprivate"), Some("slave"), Some("rslave"), Some("shared")]
    {
        configure(&bundle, |c| match propagation {
            Some(p) => c["linux"]["rootfsPropagation"] = json!(p),
            None => drop(c["linux"].as_object_mut().unwrap().remove("rootfsPropagation")),
        });
        let mut command = Command::new(world.dir().join("loment-runtime"));
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .arg("--root")
            .arg(world.dir().join("runtime"));
        command.args(["run", "--bundle"]).arg(&bundle).arg(id("shared"));
        keeps_shared_mounts(&world, propagation.unwrap_or("unset"), &command);
    }
}

#[test]
fn devices_of_the_host_cannot_be_changed_through_masked_paths_or_nodes() {
    let (world, fs) = world_over_directory();
    sleeper(&world, "c", &["--device", "/dev/zero:/dev/mine", "--rootfs"], &fs);
    let of_host = || {
        ["null", "zero", "full", "random", "urandom", "tty"].map(|n| {
            let m = fs::metadata(format!("/dev/{n}")).unwrap();
            (n, m.mode(), m.uid(), m.gid(), m.ctime(), m.ctime_nsec(), m.mtime(), m.atime())
        })
    };
    let before = of_host();
    // The same rights and owner as before: where the attack works, only the time of the change tells.
    for command in [["chmod", "666"], ["chown", "0:0"], ["chgrp", "0"]] {
        let output = world.loment(["exec", "c", command[0], command[1], "/proc/keys"]);
        assert_ne!(output.code, 0, "{output}");
        let nodes = "/dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/mine";
        // Nodes of its own it may change.
        world.loment(["exec", "c", "sh", "-c", &format!("{} {} {nodes}", command[0], command[1])]);
    }
    assert_ne!(world.loment(["exec", "c", "touch", "-d", "2001-01-01", "/proc/keys"]).code, 0);
    assert_eq!(of_host(), before);
}

#[test]
fn a_volume_over_dev_is_not_changed() {
    let (world, fs) = world_over_directory();
    // With the directories that every /dev has: mount points that are missing are made, as in any volume.
    for (name, dirs) in [("whole", ["pts", "shm", "mqueue"])] {
        let dev = world.path(name);
        fs::create_dir(&dev).unwrap();
        for dir in dirs {
            fs::create_dir(dev.join(dir)).unwrap();
        }
        for (node, major, minor) in [("null", "1", "3"), ("zero", "1", "5"), ("ptmx", "5", "2")] {
            let mut mknod = Command::new("mknod");
            mknod.args(["-m", "640"]).arg(dev.join(node)).args(["c", major, minor]);
            run(&mut mknod, Patience::NORMAL).succeeds();
        }
        let before = listing(&dev);
        let volume = format!("{}:/dev", dev.display());
        // Whether it runs is another question.
        over(&world, &["-v", &volume], &fs, &["true"]);
        over(&world, &["-t", "-v", &volume], &fs, &["true"]);
        assert_eq!(listing(&dev), before, "{name}");
    }
}

#[test]
fn cve_2019_19921_cve_2023_27561_cve_2026_41579_linked_proc_sys_and_dev_are_refused() {
    for name in ["proc", "sys", "dev"] {
        let (world, fs) = world_over_directory();
        let target = world.path("target");
        fs::create_dir(&target).unwrap();
        let bundle = bundle(&world, "echo ran", |c| {
            let sys = json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"] });
            c["mounts"].as_array_mut().unwrap().push(sys);
        });
        let before = listing(&target);
        for link in
            [target.display().to_string(), format!("..{}{}", "/..".repeat(8), target.display()), "tmp".into()]
        {
            for root in [Path::new(&fs), &bundle.join("rootfs")] {
                let path = root.join(name);
                if path.is_symlink() {
                    fs::remove_file(&path).unwrap();
                } else {
                    fs::remove_dir_all(&path).unwrap_or_default();
                }
                symlink(&link, &path).unwrap();
            }
            let output = over(&world, &[], &fs, &["echo", "ran"]);
            assert_ne!(output.code, 0, "/{name} is a link to {link}: {output}");
            let output = runtime_run(&world, &bundle, "linked");
            assert_ne!(output.code, 0, "/{name} is a link to {link}: {output}");
            assert!(
                output.stderr.contains("must be mounted on ordinary directory") || name == "dev",
                "{output}"
            );
            assert_eq!(listing(&target), before);
        }
    }
}

/// Exchanges two names over and over until it is dropped.
pub(crate) struct Swapper {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Swapper {
    pub(crate) fn start(dir: &Path, a: &'static str, b: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, dir) = (Arc::clone(&stop), fs::File::open(dir).unwrap());
        let thread = std::thread::spawn(move || {
            let flags = rustix::fs::RenameFlags::EXCHANGE;
            while !told.load(Ordering::Relaxed) && rustix::fs::renameat_with(&dir, a, &dir, b, flags).is_ok()
            {
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

#[test]
fn cve_2021_30465_cve_2024_45310_a_mount_target_that_is_exchanged_for_a_link_stays_inside() {
    let (world, fs) = world_over_directory();
    let dirs = ["volume", "volume/d", "outside", "bound"].map(|n| world.path(n));
    dirs.iter().for_each(|d| fs::create_dir(d).unwrap());
    let [volume, _, outside, bound] = &dirs;
    // Without `/..`, which would lead into the root file system: that is mounted on the host's root by then.
    symlink(outside, volume.join("l")).unwrap();
    fs::write(outside.join("secret"), "escaped").unwrap();
    // Where the link leads inside.
    fs::create_dir_all(Path::new(&fs).join(outside.strip_prefix("/").unwrap())).unwrap();
    fs::write(Path::new(&fs).join("mark"), "root").unwrap();
    let before = listing(outside);
    let mounts =
        || fs::read_to_string("/proc/self/mountinfo").unwrap().matches(world.dir().to_str().unwrap()).count();
    let mounts_before = mounts();
    let swapper = Swapper::start(volume, "d", "l");
    let shared = format!("{}:/volume", volume.display());
    let target = format!("{}:/volume/d/new/deep", bound.display());
    let over_it = format!("{}:/volume/d", bound.display());
    let end = Instant::now() + Duration::from_secs(10);
    let mut made = [0, 0];
    for i in 0..30 {
        let target = if i % 2 == 0 { &target } else { &over_it };
        // A mount that were made in what was the host's root would have gone with it: it has to be inside.
        let script = "cat /mark; cat /volume/d/secret /volume/l/secret 2>/dev/null; \
                      awk '$4 ~ \"/bound$\" { print \" bound\" }' /proc/self/mountinfo";
        let output = over(&world, &["-v", &shared, "-v", target], &fs, &["sh", "-c", script]);
        // A race that is seen may be refused.
        assert!(output.code != 0 || output.stdout.trim_end() == "root bound", "{output}");
        assert!(!output.stdout.contains("escaped"), "{output}");
        made[i % 2] += u32::from(output.code == 0);
        if Instant::now() > end && !made.contains(&0) {
            break;
        }
    }
    drop(swapper);
    assert_eq!(listing(outside), before, "something was made outside");
    assert_eq!(mounts(), mounts_before);
    assert!(!made.contains(&0), "mounts that were made: {made:?}");
}

#[test]
fn cve_2022_24769_cve_2022_29162_no_capability_is_inheritable() {
    let (world, fs) = world_over_directory();
    sleeper(&world, "c", &["--rootfs"], &fs);
    let grep = ["grep", "-E", "Cap(Inh|Amb)", "/proc/self/status"];
    let head = ["run", "--rm", "--network", "none", "--rootfs", &fs];
    let commands = [
        [head.as_slice(), &grep].concat(),
        [&["exec", "c"], grep.as_slice()].concat(),
        [&["exec", "-u", "1000", "c"], grep.as_slice()].concat(),
    ];
    let none = "CapInh:\t0000000000000000\nCapAmb:\t0000000000000000";
    let setpriv =
        ["setpriv", "--inh-caps", "+chown,+net_raw,+net_bind_service", "--ambient-caps", "+chown,+net_raw"];
    let has_setpriv = run(Command::new("sh").args(["-c", "command -v setpriv"]), Patience::NORMAL).code == 0;
    for arguments in &commands {
        assert_eq!(world.loment(arguments).succeeds(), none, "{arguments:?}");
        if has_setpriv {
            let output = run(&mut through(&setpriv, &world.command(arguments)), Patience::NORMAL);
            assert_eq!(output.succeeds(), none, "from one that has inheritable ones: {arguments:?}");
        }
    }
    if !has_setpriv {
        skip("inheritable capabilities of the starter", "setpriv is not installed");
    }
}

/// Puts something in the place of a device.
fn disguise(path: &Path, kind: &str, target: &str) {
    match kind {
        "file" => fs::write(path, "not a device").unwrap(),
        "dir" => fs::create_dir(path).unwrap(),
        "missing" => {}
        _ => symlink(target, path).unwrap(),
    }
}

#[test]
fn cve_2025_31133_masks_do_not_trust_the_null_device_of_the_image() {
    for kind in ["file", "dir", "missing", "to the host", "to the root", "to proc"] {
        let (world, fs) = world_over_directory();
        let secret = world.write("secret", "escaped");
        let target = match kind {
            "to the host" => format!("/..{}{secret}", "/..".repeat(8)),
            "to proc" => "/proc/sysrq-trigger".to_owned(),
            _ => "/etc/passwd".to_owned(),
        };
        let script = "stat -c '%F %t %T' /proc/keys; cat /proc/keys";
        let is_masked = |output: &Output| {
            assert!(output.code != 0 || output.stdout == "character special file 1 3\n", "{kind}: {output}");
            assert!(!output.stdout.contains("escaped"), "{kind}: {output}");
        };
        let bundle = bundle(&world, script, |c| {
            c["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/dev");
            c["linux"]["maskedPaths"] = json!(["/proc/keys"]);
        });
        disguise(&bundle.join("rootfs/dev/null"), kind, &target);
        is_masked(&runtime_run(&world, &bundle, "null"));
        let dev = world.path("dev");
        fs::create_dir(&dev).unwrap();
        disguise(&dev.join("null"), kind, &target);
        let volume = format!("{}:/dev", dev.display());
        is_masked(&over(&world, &["-v", &volume], &fs, &["sh", "-c", script]));
        assert_eq!(fs::read_to_string(secret).unwrap(), "escaped");
    }
}

#[test]
fn cve_2025_52565_a_terminal_is_not_mounted_through_console_or_pts_of_the_image() {
    for (name, kind) in
        [("console", "host"), ("console", "proc"), ("pts", "proc"), ("pts", "host"), ("ptmx", "proc")]
    {
        let (world, fs) = world_over_directory();
        let victim = world.path("victim");
        fs::create_dir(&victim).unwrap();
        fs::write(victim.join("0"), "as it was").unwrap();
        let before = listing(&victim);
        let target = match (kind, name) {
            ("proc", "pts") => "/proc/sys/kernel".to_owned(),
            ("proc", _) => "/proc/sys/kernel/core_pattern".to_owned(),
            (_, "pts") => format!("/..{}{}", "/..".repeat(8), victim.display()),
            _ => format!("/..{}{}/0", "/..".repeat(8), victim.display()),
        };
        let script = "cut -d' ' -f5 /proc/self/mountinfo; echo end";
        let bundle = bundle(&world, script, |c| {
            c["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/dev");
            c["process"]["terminal"] = json!(true);
        });
        symlink(&target, bundle.join("rootfs/dev").join(name)).unwrap();
        let dev = world.path("dev");
        fs::create_dir(&dev).unwrap();
        symlink(&target, dev.join(name)).unwrap();
        let volume = format!("{}:/dev", dev.display());
        runtime(&world, &["--version"]).succeeds();
        let mut of_runtime = Command::new(world.dir().join("loment-runtime"));
        of_runtime
            .arg("--root")
            .arg(world.dir().join("runtime"))
            .args(["run", "--bundle"])
            .arg(&bundle)
            .arg(id("console"));
        let command =
            ["run", "--rm", "-it", "--network", "none", "-v", &volume, "--rootfs", &fs, "sh", "-c", script];
        for command in [of_runtime, world.command(command)] {
            let mut terminal = Terminal::start(&command);
            terminal.ends();
            let screen = terminal.screen();
            assert!(!screen.contains("/proc/sys/kernel"), "/dev/{name} leads to {target}:\n{screen}");
            assert_eq!(listing(&victim), before, "/dev/{name} leads to {target}");
        }
    }
}

#[test]
fn cve_2019_16884_cve_2025_52881_nothing_is_written_through_a_false_proc() {
    let world = world();
    let secret = world.write("secret", "as it was");
    let fake = world.path("fake");
    for dir in ["sys/net/ipv4", "self/attr/apparmor", "thread-self/attr", "1/attr"] {
        fs::create_dir_all(fake.join(dir)).unwrap();
    }
    for file in
        ["self/oom_score_adj", "1/oom_score_adj", "self/attr/exec", "self/attr/apparmor/exec", "1/attr/exec"]
    {
        fs::write(fake.join(file), "as it was").unwrap();
    }
    symlink(&secret, fake.join("sys/net/ipv4/ip_forward")).unwrap();
    let before = (listing(&fake), fs::metadata(&secret).unwrap().ctime_nsec());
    let bundle = bundle(&world, "cat /proc/sys/net/ipv4/ip_forward", |_| ());
    for how in ["bound", "linked", "bound later", "copied"] {
        for label in [None, Some("apparmorProfile"), Some("selinuxLabel")] {
            configure(&bundle, |c| {
                let bind =
                    json!({ "destination": "/proc", "type": "bind", "source": fake, "options": ["rbind"] });
                let proc = json!({ "destination": "/proc", "type": "proc", "source": "proc" });
                c["mounts"] = match how {
                    "bound" => json!([bind]),
                    "bound later" => json!([proc, bind]),
                    _ => json!([]),
                };
                c["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
                let process = c["process"].as_object_mut().unwrap();
                process.insert("oomScoreAdj".into(), json!(500));
                process.remove("apparmorProfile");
                process.remove("selinuxLabel");
                if let Some(label) = label {
                    process.insert(label.into(), json!("unconfined"));
                }
            });
            let proc = bundle.join("rootfs/proc");
            if how == "linked" && !proc.is_symlink() {
                fs::remove_dir_all(&proc).unwrap();
                symlink(format!("/..{}{}", "/..".repeat(8), fake.display()), &proc).unwrap();
            }
            if how == "copied" && proc.is_symlink() {
                fs::remove_file(&proc).unwrap();
                run(Command::new("cp").arg("-a").arg(&fake).arg(&proc), Patience::NORMAL).succeeds();
            }
            // Refused or run: it is what is written that counts.
            runtime_run(&world, &bundle, "false-proc");
            assert_eq!(
                (listing(&fake), fs::metadata(&secret).unwrap().ctime_nsec()),
                before,
                "{how} {label:?}"
            );
        }
    }
    assert_eq!(fs::read_to_string(bundle.join("rootfs/proc/self/oom_score_adj")).unwrap(), "as it was");
    assert_eq!(fs::read_to_string(secret).unwrap(), "as it was");
}

#[test]
fn cve_2026_30892_a_user_is_what_it_says_or_refused() {
    let (world, fs) = world_over_directory();
    sleeper(&world, "c", &["--rootfs"], &fs);
    let script = ["sh", "-c", "grep -E '^(Uid|Gid)' /proc/self/status | cut -f2"];
    for (user, ids) in [("1000:2000", "1000\n2000"), ("7", "7\n0"), ("app", "1000\n1000"), ("0:5", "0\n5")] {
        assert_eq!(world.loment([&["exec", "-u", user, "c"], script.as_slice()].concat()).succeeds(), ids);
        assert_eq!(over(&world, &["-u", user], &fs, &script).succeeds(), ids);
    }
    for bad in [
        "-1",
        "4294967295",
        "4294967296",
        "18446744073709551616",
        "0x10",
        "+0",
        " 0",
        "1:2:3",
        "1:-1",
        "no:no",
    ] {
        let user = format!("--user={bad}");
        for output in [
            world.loment([&["exec", &user, "c"], script.as_slice()].concat()),
            over(&world, &[&user], &fs, &script),
        ] {
            assert!(output.code != 0 && output.stdout.is_empty(), "{output}");
        }
    }
    eventually("the container still runs", || world.loment(["exec", "c", "true"]).code == 0);
}

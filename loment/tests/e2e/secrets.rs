//! Secrets: objects, what containers know of them, and where their bytes are found.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use loment_testkit::{Output, Patience, Registry, World, run};
use serde_json::Value;

use crate::{eventually, fixtures, pid_of, sh, sleeper, world, world_over_directory, world_with};

/// Makes a secret; its id.
#[track_caller]
fn make(world: &World, name: &str, bytes: impl AsRef<[u8]>, flags: &[&str]) -> String {
    let file = world.write("of-secret", bytes);
    let made = world.loment([&["secret", "create"], flags, &[name, &file]].concat());
    fs::remove_file(file).unwrap();
    made.succeeds().to_owned()
}

/// What a secret is.
#[track_caller]
fn shown(world: &World, name: &str) -> String {
    world
        .loment(["secret", "inspect", "--showsecret", "--format", "{{.SecretData}}", name])
        .succeeds()
        .to_owned()
}

/// A file that has a secret in it, or the name of one that has.
fn with_bytes(dir: &Path, bytes: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => found.extend(with_bytes(&path, bytes)),
            kind if kind.is_file() => {
                let content = fs::read(&path).unwrap_or_default();
                if content.windows(bytes.len()).any(|part| part == bytes.as_bytes()) {
                    found.push(path);
                }
            }
            _ => {}
        }
    }
    found
}

#[test]
fn a_secret_is_made_listed_inspected_and_removed() {
    let world = world();
    let id = make(&world, "one", "first", &["--label", "kind=a", "--label", "x"]);
    assert!(id.len() == 25 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    let piped = world.loment_with_input(["secret", "create", "two", "-"], "second\n");
    let two = piped.succeeds().to_owned();
    let mut variable = world.command(["secret", "create", "--env", "three", "THREE"]);
    run(variable.env("THREE", "third"), Patience::NORMAL).succeeds();
    assert_eq!(["one", "two", "three"].map(|name| shown(&world, name)), ["first", "second\n", "third"]);
    let list = world.loment(["secret", "ls"]).succeeds().to_owned();
    let lines: Vec<_> = list.lines().collect();
    let head = "ID                         NAME        DRIVER      CREATED                 UPDATED";
    assert_eq!(lines.len(), 4, "{list}");
    assert!(lines[0].split_whitespace().eq(head.split_whitespace()), "{list}");
    assert!(
        lines[1].starts_with(&format!("{id}  one         file        ")) && lines[1].ends_with(" ago"),
        "{list}"
    );
    assert_eq!(world.loment(["secret", "ls", "--quiet", "--filter", "name=^one$"]).succeeds(), id);
    assert_eq!(world.loment(["secret", "list", "--noheading"]).succeeds().lines().count(), 3);
    let of = |filter: &[&str]| {
        let flags = filter.iter().flat_map(|f| ["--filter", f]);
        let output = world.loment(["secret", "ls", "--format", "{{.Name}}"].into_iter().chain(flags));
        output.succeeds().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of(&["name=o"]), ["one", "two"]);
    assert_eq!(of(&["name=three", "name=^one$"]), ["one", "three"]);
    assert_eq!(of(&[&format!("id=^{}", &two[..12])]), ["two"]);
    assert_eq!(of(&["label=kind=a", "label=x"]), ["one"]);
    assert_eq!(of(&["label=kind=b"]), [""; 0]);
    assert_eq!(of(&["driver=file"]).len(), 3);
    world.loment(["secret", "ls", "--filter", "colour=red"]).fails_saying(125, &["colour=red", "label"]);
    let all: Value =
        serde_json::from_str(world.loment(["secret", "ls", "--format", "json"]).succeeds()).unwrap();
    assert_eq!(all[0]["Name"], "one");
    let docker = world.persona("docker", ["secret", "ls", "--format", "json"]);
    assert_eq!(docker.succeeds().lines().count(), 3, "{docker}");

    let output = world.loment(["secret", "inspect", "one"]);
    let document: Value = serde_json::from_str(output.succeeds()).unwrap();
    assert_eq!(document[0]["Spec"]["Labels"], serde_json::json!({"kind": "a", "x": ""}));
    assert_eq!(document[0]["Spec"]["Driver"], serde_json::json!({"Name": "file", "Options": {}}));
    assert_eq!((&document[0]["ID"], document[0].get("SecretData")), (&Value::from(id.as_str()), None));
    assert_eq!(document[0]["CreatedAt"], document[0]["UpdatedAt"]);
    let pretty = world.loment(["secret", "inspect", "--pretty", "one"]);
    let lines: Vec<_> = pretty.succeeds().lines().collect();
    assert_eq!(lines[1..5], ["Name:              one", "Labels:", " - kind=a", " - x"], "{pretty}");
    assert!(!pretty.stdout.contains("first"), "{pretty}");
    // By the beginning of its id.
    assert_eq!(
        world.loment(["secret", "inspect", "--format", "{{.Spec.Name}}", &id[..10]]).succeeds(),
        "one"
    );
    assert_eq!(world.loment(["secret", "exists", "one"]).code, 0);
    assert_eq!(world.loment(["secret", "rm", "one"]).succeeds(), id);
    assert_eq!(world.loment(["secret", "exists", "one"]).code, 1);
    for command in ["rm", "inspect"] {
        world
            .loment(["secret", command, "one"])
            .fails_saying(125, &["\"one\"", "no such secret", "secret create"]);
    }
    assert_eq!(world.loment(["secret", "rm", "--ignore", "one", "two"]).succeeds(), two);
    world.loment(["secret", "rm", "--all"]).succeeds();
    assert_eq!(fs::read_dir(world.root().join("secrets")).unwrap().count(), 0);
    let told = ["events", "--stream=false", "--filter", "type=secret", "--format", "{{.Status}} {{.Name}}"];
    let told = world.loment(told).succeeds().lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        told,
        ["create one", "create two", "create three", "remove one", "remove two", "remove three"]
    );
}

#[test]
fn what_is_no_secret_is_refused_by_name() {
    let world = world();
    make(&world, "a", "old", &["--label", "n=1"]);
    let file = world.write("file", "new");
    let create = |flags: &[&str]| world.loment([&["secret", "create"], flags].concat());
    create(&["a", &file]).fails_saying(125, &["a: secret name in use", "--replace"]);
    let old =
        world.loment(["secret", "inspect", "--format", "{{.ID}} {{.CreatedAt}}", "a"]).succeeds().to_owned();
    let (id, created) = old.split_once(' ').unwrap();
    assert_eq!(create(&["--ignore", "a", &file]).succeeds(), id);
    assert_eq!(shown(&world, "a"), "old");
    create(&["--ignore", "--replace", "a", &file]).fails(125);
    let new = create(&["--replace", "--label", "n=2", "a", &file]).succeeds().to_owned();
    assert_ne!(new, id);
    assert_eq!(shown(&world, "a"), "new");
    let of = "{{.CreatedAt}} {{.Spec.Labels.n}} {{eq .CreatedAt .UpdatedAt}}";
    let now = world.loment(["secret", "inspect", "--format", of, "a"]).succeeds().to_owned();
    assert_eq!(now, format!("{created} 2 false"));
    // One that was not there is replaced, too.
    create(&["--replace", "b", &file]).succeeds();
    for bad in ["", "..", "a/b", "../b", "a,b", "a=b", "a\nb", &"x".repeat(254)] {
        let refused = create(&["--", bad, &file]);
        assert!(refused.code == 125 && refused.stderr.contains("secret name"), "{bad}: {refused}");
        assert_eq!(world.loment(["secret", "rm", "--", bad]).code, 125, "{bad}");
    }
    create(&["c", "/dev/null"]).fails_saying(125, &["larger than 0 and less than 512000 bytes"]);
    let large = world.write("large", vec![b'x'; 512_000]);
    create(&["c", &large]).fails_saying(125, &["less than 512000 bytes"]);
    fs::File::options().write(true).open(&large).unwrap().set_len(511_999).unwrap();
    create(&["c", &large]).succeeds();
    assert_eq!(shown(&world, "c").len(), 511_999);
    create(&["d", "/nonesuch"]).fails_saying(125, &["/nonesuch"]);
    create(&["--env", "d", "NONESUCH"]).fails_saying(125, &["NONESUCH is not set"]);
    create(&["--driver", "vault", "d", &file]).fails_saying(125, &["vault", "file, pass or shell"]);
    create(&["--driver", "shell", "d", &file]).fails_saying(125, &["delete", "--driver-opts"]);
    create(&["--driver-opts", "colour=red", "d", &file]).fails_saying(125, &["colour", "path=DIR"]);
    assert_eq!(world.loment(["secret", "ls", "--format", "{{.Name}}"]).succeeds(), "a\nb\nc");
    // Files of nobody but the superuser.
    let mode = |path: &str| fs::metadata(world.root().join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(["secrets", "secrets/a"].map(mode), [0o700; 2]);
    assert_eq!(["secrets/a/secret.json", "secrets/a/data"].map(mode), [0o600; 2]);
}

#[test]
fn a_container_finds_secrets_in_files() {
    let (world, image) = world_with("busybox:latest");
    make(&world, "plain", "one", &[]);
    make(&world, "binary", [0, 159, 255, 10], &[]);
    let seen = sh(
        &world,
        &[
            "--secret",
            "plain",
            "--secret",
            "binary,target=sub/b,uid=12,gid=34,mode=0440",
            "--secret",
            "plain,target=/etc/key,mode=0400",
        ],
        &image,
        "cat /run/secrets/plain /etc/key; echo; stat -c '%u %g %a %F %n' /run/secrets/plain /run/secrets/sub/b /etc/key; \
         od -An -tx1 /run/secrets/sub/b; ls /run/secrets; \
         (echo x >/run/secrets/plain) 2>&1 | grep -o 'Read-only.*'; env | grep -c one; true",
    );
    assert_eq!(
        seen.lines().collect::<Vec<_>>(),
        [
            "oneone",
            "0 0 444 regular file /run/secrets/plain",
            "12 34 440 regular file /run/secrets/sub/b",
            "0 0 400 regular file /etc/key",
            " 00 9f ff 0a",
            "plain",
            "sub",
            "Read-only file system",
            "0",
        ]
    );
    // Also where nothing else can be written, and where users are other ones outside.
    let script = "id -u; cat /run/secrets/plain; stat -c ' %u %g %a' /run/secrets/plain";
    for flags in [
        &["--read-only"][..],
        &["--read-only", "--read-only-tmpfs=false"],
        &["--uidmap", "0:100000:65536"],
        &["--tmpfs", "/run"],
        &["-v", "/run/secrets"],
        &["-v", "/run/secrets/other"],
    ] {
        let secret = ["--user", "5:6", "--secret", "plain,uid=5,gid=6,mode=0400"];
        assert_eq!(sh(&world, &[flags, &secret].concat(), &image, script), "5\none 5 6 400", "{flags:?}");
    }
    let users = ["--uidmap", "0:100000:100", "--secret", "plain,uid=100"];
    let refused = world.loment([&["create", "--network", "none"], &users[..], &[&image, "true"]].concat());
    refused.fails_saying(125, &["plain", "no user 100"]);
}

#[test]
fn a_container_finds_secrets_in_variables() {
    let (world, rootfs) = world_over_directory();
    make(&world, "KEY", "the value=\nin two lines", &[]);
    make(&world, "binary", [255, 254], &[]);
    let flags = ["--secret", "KEY,type=env", "--secret", "KEY,type=env,target=OTHER", "--env", "OTHER=mine"];
    sleeper(&world, "c", &[&flags[..], &["--rootfs"]].concat(), &rootfs);
    let of = |script: &str| world.loment(["exec", "c", "sh", "-c", script]).succeeds().to_owned();
    let environment = fs::read_to_string(format!("/proc/{}/environ", pid_of(&world, "c"))).unwrap();
    assert!(environment.split('\0').any(|entry| entry == "KEY=the value=\nin two lines"), "{environment}");
    assert_eq!(of("echo \"$KEY\"; echo \"$OTHER\""), "the value=\nin two lines\nthe value=\nin two lines");
    assert_eq!(of("ls /run/secrets 2>/dev/null | wc -l"), "0");
    // An update of other variables leaves them.
    world.loment(["update", "--env", "MORE=1", "c"]).succeeds();
    world.loment(["restart", "--time", "0", "c"]).succeeds();
    assert_eq!(of("echo \"$OTHER $MORE\" | head -n 1"), "the value=");
    let env = world.inspect("{{json .Config.Env}}", "c");
    assert!(!env.contains("the value") && !env.contains("KEY"), "{env}");
    let secrets: Value = serde_json::from_str(&world.inspect("{{json .Config.Secrets}}", "c")).unwrap();
    assert_eq!(
        (&secrets[0]["Name"], &secrets[0]["Type"], &secrets[1]["Target"]),
        (&"KEY".into(), &"env".into(), &"OTHER".into())
    );
    let refused = |secret: &[&str], said: &str| {
        let secrets = secret.iter().flat_map(|secret| ["--secret", secret]);
        let head = ["create", "--network", "none"].into_iter().chain(secrets);
        world.loment(head.chain(["--rootfs", &rootfs, "true"])).fails_saying(125, &[said]);
    };
    refused(&["binary,type=env"], "type=mount");
    refused(&["nonesuch"], "no secret with name or id \"nonesuch\": no such secret");
    refused(&["KEY,type=env", "binary,type=env,target=KEY"], "binary");
    refused(&["KEY,type=env,mode=0400"], "type=mount only");
    refused(&["KEY,target=../../etc/x"], "without ..");
    refused(&["KEY,colour=red"], "unknown key colour");
    refused(&["KEY", "KEY"], "duplicate mount destination");
    assert_eq!(fs::read_dir(world.root().join("containers")).unwrap().count(), 1);
}

#[test]
fn what_becomes_of_a_secret_does_not_matter_to_containers_that_have_it() {
    let (world, rootfs) = world_over_directory();
    for name in ["kept", "replaced"] {
        make(&world, name, "old ", &[]);
    }
    let secrets = ["--secret", "kept", "--secret", "replaced", "--secret", "kept,type=env,target=V"];
    let script = "cat /run/secrets/*; echo $V";
    let head = [&["create", "--network", "none", "--name", "c"], &secrets[..]].concat();
    world.loment([&head[..], &["--rootfs", &rootfs, "sh", "-c", script]].concat()).succeeds();
    world.loment(["secret", "rm", "kept"]).succeeds();
    make(&world, "replaced", "new ", &["--replace"]);
    for _ in 0..2 {
        assert_eq!(world.loment(["start", "--attach", "c"]).succeeds(), "old old old");
    }
    let seen = world.loment([
        "run",
        "--rm",
        "--network",
        "none",
        "--secret",
        "replaced",
        "--rootfs",
        &rootfs,
        "cat",
        "/run/secrets/replaced",
    ]);
    assert_eq!(seen.stdout, "new ");
}

#[test]
fn a_secret_is_there_whoever_starts_the_program() {
    let (world, rootfs) = world_over_directory();
    make(&world, "s", "known", &[]);
    let secrets = ["--secret", "s,mode=0400", "--secret", "s,type=env,target=V"];
    let script = "echo $V $(cat /run/secrets/s); exit 1";
    // Its monitor, again.
    let again = [&["run", "--name", "again", "--restart", "on-failure:1", "--network", "none"], &secrets[..]]
        .concat();
    world.loment([&again[..], &["--rootfs", &rootfs, "sh", "-c", script]].concat()).fails(1);
    let lines = || world.loment(["logs", "again"]).stdout;
    eventually("it runs twice", || lines() == "known known\nknown known\n");
    // A health check, in the users of another container.
    sleeper(&world, "users", &["--uidmap", "0:100000:65536", "--rootfs"], &rootfs);
    let check = [
        "--userns",
        "container:users",
        "--health-cmd",
        "echo $V $(stat -c %u /run/secrets/s)",
        "--health-interval",
        "disable",
    ];
    sleeper(&world, "c", &[&check, &secrets[..], &["--rootfs"]].concat(), &rootfs);
    world.loment(["healthcheck", "run", "c"]).succeeds();
    let log = world.inspect("{{json .State.Health.Log}}", "c");
    assert!(log.contains("known 0"), "{log}");
    // In a directory, what is mounted leaves directories and no files.
    assert_eq!(fs::read_dir(Path::new(&rootfs).join("run/secrets")).unwrap().count(), 0);
}

#[test]
fn a_damaged_record_hides_no_other() {
    let world = world();
    let good = make(&world, "good", "x", &[]);
    make(&world, "bad", "x", &[]);
    let record = world.root().join("secrets/bad/secret.json");
    fs::write(&record, "{").unwrap();
    let list = world.loment(["secret", "ls", "--quiet"]);
    assert!(
        list.code == 0 && list.stdout.trim() == good && list.stderr.contains("Warning: secret bad"),
        "{list}"
    );
    world.loment(["secret", "inspect", "bad"]).fails_saying(125, &["secrets/bad/secret.json", "damaged"]);
    assert_eq!(world.loment(["secret", "exists", "bad"]).code, 0);
    let file = world.write("f", "new");
    world.loment(["secret", "create", "--replace", "bad", &file]).succeeds();
    assert_eq!(shown(&world, "bad"), "new");
    fs::remove_file(&record).unwrap();
    world.loment(["secret", "rm", "bad"]).succeeds();
    assert_eq!(fs::read_dir(world.root().join("secrets")).unwrap().count(), 1);
}

/// The bytes are where they must be, and nowhere else: not in a record, a log, an archive or an image.
#[test]
fn the_bytes_are_nowhere_else() {
    let (world, image) = world_with("busybox:latest");
    let bytes = "only-for-the-container-3c1f";
    make(&world, "s", bytes, &[]);
    let flags =
        ["--secret", "s", "--secret", "s,type=env,target=V", "--secret", "s,target=/etc/key", "--env", "W=1"];
    sleeper(&world, "c", &flags, &image);
    assert_eq!(world.loment(["exec", "c", "sh", "-c", "cat /run/secrets/s"]).succeeds(), bytes);
    let id = world.inspect("{{.Id}}", "c");
    let check = |when: &str| {
        let copies = world.root().join("containers").join(&id).join("secrets");
        let mut below: Vec<_> = with_bytes(&world.root(), bytes);
        below.sort();
        let mut expected: Vec<_> = (0..3).map(|n| copies.join(n.to_string())).collect();
        expected.push(world.root().join("secrets/s/data"));
        assert_eq!(below, expected, "{when}");
        for path in &below {
            let stat = fs::metadata(path).unwrap();
            assert_eq!((stat.mode() & 0o7777, stat.uid()), (0o600, 0), "{when}: {path:?}");
        }
        assert_eq!(fs::metadata(&copies).unwrap().mode() & 0o7777, 0o700, "{when}");
    };
    check("it runs");
    let shown = fs::metadata(world.runroot().join("containers").join(&id)).unwrap();
    assert_eq!(shown.mode() & 0o077, 0, "others find what is mounted");
    let silent = |output: Output| assert!(!output.succeeds().contains(bytes), "{output}");
    for command in [
        &["inspect", "c"][..],
        &["ps", "--no-trunc"],
        &["events", "--stream=false"],
        &["diff", "c"],
        &["logs", "c"],
        &["secret", "inspect", "s"],
    ] {
        silent(world.loment(command));
    }
    let tar = world.path("c.tar").display().to_string();
    for when in ["running", "stopped"] {
        world.loment(["export", "--output", &tar, "c"]).succeeds();
        assert!(!String::from_utf8_lossy(&fs::read(&tar).unwrap()).contains(bytes), "export, {when}");
        world.loment(["commit", "--quiet", "c", "image:1"]).succeeds();
        let seen = sh(&world, &[], "image:1", "env; cat /etc/key; ls -A /run/secrets");
        assert!(!seen.contains(bytes) && !seen.lines().any(|line| line.starts_with("V=")), "{seen}");
        assert!(seen.lines().any(|line| line == "W=1") && !seen.lines().any(|line| line == "s"), "{seen}");
        let names = run(Command::new("tar").args(["--list", "--file", &tar]), Patience::NORMAL);
        assert!(!names.succeeds().contains("run/secrets/s"), "{names}");
        fs::remove_file(&tar).unwrap();
        check(when);
        world.loment(["stop", "--time", "1", "c"]).succeeds();
    }
    assert_eq!(with_bytes(&world.runroot(), bytes), [""; 0].map(PathBuf::from));
    world.loment(["rm", "c"]).succeeds();
    world.loment(["secret", "rm", "s"]).succeeds();
    world.leftovers();
    assert_eq!(with_bytes(world.dir(), bytes), [""; 0].map(PathBuf::from));
}

#[test]
fn files_of_secrets_may_be_in_another_directory() {
    let world = world();
    let dir = world.path("elsewhere");
    let option = format!("path={}", dir.display());
    let id = make(&world, "s", "away", &["--driver", "file", "--driver-opts", &option]);
    assert_eq!(fs::read_to_string(dir.join(&id)).unwrap(), "away");
    assert!(!world.root().join("secrets/s/data").exists());
    assert_eq!(shown(&world, "s"), "away");
    make(&world, "s", "again", &["--driver-opts", &option, "--replace"]);
    assert!(!dir.join(&id).exists());
    world.loment(["secret", "rm", "s"]).succeeds();
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}

#[test]
fn commands_of_the_user_keep_secrets() {
    let (world, rootfs) = world_over_directory();
    let dir = world.path("kept");
    fs::create_dir(&dir).unwrap();
    let at = format!("{}/$SECRET_ID", dir.display());
    let options = |store: &str| {
        format!(
            "store={store},lookup=cat {at} 2>/dev/null,delete=rm {at} 2>/dev/null,list=ls {}",
            dir.display()
        )
    };
    let option = options(&format!("echo noise; cat >{at}"));
    let id = make(&world, "s", "by others", &["--driver", "shell", "--driver-opts", &option]);
    assert_eq!(id.len(), 25, "what the command says is no output of ours");
    assert_eq!(fs::read_to_string(dir.join(&id)).unwrap(), "by others");
    assert!(with_bytes(&world.root(), "by others").is_empty());
    assert_eq!(shown(&world, "s"), "by others");
    assert_eq!(sh(&world, &["--secret", "s", "--rootfs"], &rootfs, "cat /run/secrets/s"), "by others");
    // More than a pipe holds.
    let large = "x".repeat(300_000);
    let other = make(&world, "s", &large, &["--driver", "shell", "--driver-opts", &option, "--replace"]);
    assert_eq!(shown(&world, "s"), large);
    assert!(!dir.join(&id).exists() && dir.join(&other).exists());
    // One that cannot be removed stays, and one that cannot be stored does not appear.
    fs::rename(dir.join(&other), dir.join("aside")).unwrap();
    world.loment(["secret", "rm", "s"]).fails_saying(125, &["remove secret s", "status"]);
    world.loment(["secret", "inspect", "--showsecret", "s"]).fails_saying(125, &["read secret s", "status"]);
    assert_eq!(world.loment(["secret", "exists", "s"]).code, 0);
    fs::rename(dir.join("aside"), dir.join(&other)).unwrap();
    assert_eq!(world.loment(["secret", "rm", "s"]).succeeds(), other);
    let file = world.write("f", "x");
    let failing = options("exit 3");
    let flags = ["secret", "create", "--driver", "shell", "--driver-opts", &failing, "t", &file];
    world.loment(flags).fails_saying(125, &["store secret t", "status 3"]);
    assert_eq!(fs::read_dir(world.root().join("secrets")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}

/// An agent that is gone when the test is.
struct Agent(PathBuf);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(&self.0).args(["--kill", "all"]).status();
    }
}

#[test]
fn pass_keeps_secrets() {
    let world = world();
    // Its sockets have short paths.
    let home = tempfile::Builder::new().prefix("loment-test-").tempdir_in("/tmp").unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let _agent = Agent(home.path().to_owned());
    let mut key = Command::new("gpg");
    key.env("GNUPGHOME", home.path()).args([
        "--batch",
        "--quiet",
        "--passphrase",
        "",
        "--quick-generate-key",
        "loment@example.com",
        "default",
        "default",
        "never",
    ]);
    run(&mut key, Patience::NORMAL).succeeds();
    let store = world.path("store");
    fs::create_dir(&store).unwrap();
    fs::write(store.join(".gpg-id"), "loment@example.com\n").unwrap();
    let option = format!("root={}", store.display());
    let command = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        command.env("GNUPGHOME", home.path());
        run(&mut command, Patience::NORMAL)
    };
    let file = world.write("f", "for pass");
    let id = command(&["secret", "create", "--driver", "pass", "--driver-opts", &option, "s", &file])
        .succeeds()
        .to_owned();
    assert!(store.join(format!("{id}.gpg")).exists());
    assert!(with_bytes(&store, "for pass").is_empty() && with_bytes(&world.root(), "for pass").is_empty());
    let inspect =
        ["secret", "inspect", "--showsecret", "--format", "{{.SecretData}} {{.Spec.Driver.Name}}", "s"];
    assert_eq!(command(&inspect).succeeds(), "for pass pass");
    command(&["secret", "rm", "s"]).succeeds();
    assert!(!store.join(format!("{id}.gpg")).exists());
    let missing = format!("root={}", world.path("nonesuch").display());
    let refused = command(&["secret", "create", "--driver", "pass", "--driver-opts", &missing, "s", &file]);
    refused.fails_saying(125, &["pass init"]);
}

#[test]
fn a_password_may_be_a_secret() {
    let world = world();
    let registry = Registry::with_password(&fixtures().storage());
    let (host, file) = (registry.host(), world.path("auth.json").display().to_string());
    make(&world, "user", "secret\n", &[]);
    make(&world, "wrong", "nonsense", &[]);
    let login =
        |flags: &[&str]| world.loment([&["login", "--authfile", &file], flags, &[host.as_str()]].concat());
    login(&["--secret", "wrong", "-u", "user"]).fails_saying(125, &["invalid username/password"]);
    login(&["--secret", "nonesuch"]).fails_saying(125, &["no such secret"]);
    login(&["--secret", "user", "--password", "x"]).fails_saying(125, &["--secret cannot be used with"]);
    // The user is called as the secret is, unless another name is said.
    assert!(login(&["--secret", "user"]).succeeds().ends_with("Login Succeeded!"));
    world.loment(["pull", "--quiet", "--authfile", &file, &registry.name("busybox:latest")]).succeeds();
}

#[test]
fn the_same_name_is_made_and_removed_by_many_at_once() {
    let world = world();
    let file = world.write("f", "x");
    let spawn = |arguments: &[&str]| {
        world
            .command(arguments)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let made: Vec<_> = (0..16).map(|_| spawn(&["secret", "create", "s", &file])).collect();
    let won = made
        .into_iter()
        .filter_map(|mut child| Some(child.wait().unwrap().success()).filter(|won| *won))
        .count();
    assert_eq!(won, 1);
    let mut all: Vec<_> = (0..8)
        .flat_map(|_| {
            [
                spawn(&["secret", "create", "--replace", "s", &file]),
                spawn(&["secret", "inspect", "--showsecret", "s"]),
            ]
        })
        .collect();
    assert!(all.iter_mut().all(|child| child.wait().unwrap().success()));
    assert_eq!(shown(&world, "s"), "x");
    assert_eq!(fs::read_dir(world.root().join("secrets")).unwrap().count(), 1);
}

//! Saved logins: `login`, `logout`, `--authfile`, helper programs; and the same files in the hands of skopeo and Podman.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use loment_testkit::{Patience, Registry, Terminal, World, run};
use serde_json::{Value, json};

use super::{called, configure};
use crate::{fixtures, world};

fn guarded() -> Registry {
    Registry::with_password(&fixtures().storage())
}

/// `login` as the registry's user, with further arguments.
fn login(world: &World, registry: &Registry, arguments: &[&str]) -> loment_testkit::Output {
    let host = registry.host();
    world.loment([&["login", "-u", "user", "-p", "secret"], arguments, &[host.as_str()]].concat())
}

fn document(path: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("read a file")).expect("it is JSON")
}

/// `user:secret`, as files have it.
const PAIR: &str = "dXNlcjpzZWNyZXQ=";

#[test]
fn a_login_is_verified_before_it_is_saved() {
    let world = world();
    let (registry, file) = (guarded(), world.path("auth/auth.json").display().to_string());
    let name = registry.name("multi:latest");
    world.loment(["pull", "--quiet", &name]).fails_saying(125, &["unauthorized", "log in to"]);
    let wrong = world.loment(["login", "-u", "user", "-p", "wrong", "--authfile", &file, &registry.host()]);
    wrong.fails_saying(125, &[&format!("logging into {:?}: invalid username/password", registry.host())]);
    assert!(!std::path::Path::new(&file).exists());
    let done = login(&world, &registry, &["--authfile", &file, "--verbose"]);
    assert_eq!(done.succeeds(), format!("Used:  {file}\nLogin Succeeded!"));
    let mode = |path: &str| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o7777;
    assert_eq!((mode(&file), mode(&world.path("auth").display().to_string())), (0o600, 0o700));
    assert_eq!(document(&file), json!({ "auths": { registry.host(): { "auth": PAIR } } }));
    world.loment(["pull", "--quiet", "--authfile", &file, &name]).succeeds();
    let to = format!("dir:{}", world.path("copy").display());
    let from = format!("docker://{name}");
    world.loment(["image", "copy", "--quiet", "--src-authfile", &file, &from, &to]).succeeds();
    let mut by_variable = world.command(["pull", "--quiet", &name]);
    run(by_variable.env("REGISTRY_AUTH_FILE", &file), Patience::NORMAL).succeeds();
    world.loment(["pull", "--quiet", "--authfile", "/nonesuch", &name]).fails_saying(
        125,
        &["credential file is not accessible: faccessat /nonesuch: no such file or directory"],
    );
    // A refused one stays refused, whoever saved it.
    let bad = json!({ "auths": { registry.host(): { "auth": "dXNlcjp3cm9uZw==" } } }).to_string();
    let bad = world.write("bad.json", bad);
    world
        .loment(["pull", "--quiet", "--authfile", &bad, &name])
        .fails_saying(125, &["refuses these credentials"]);
}

#[test]
fn where_the_user_keeps_logins_is_where_they_are_looked_for() {
    let world = world();
    let registry = guarded();
    let name = registry.name("multi:latest");
    let runtime = world.path("runtime");
    let with = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        run(command.env("XDG_RUNTIME_DIR", &runtime), Patience::NORMAL)
    };
    let entry = json!({ registry.host(): { "auth": PAIR } });
    let home = world.dir().join("home");
    for (path, text) in [
        (".config/containers/auth.json", json!({ "auths": entry })),
        (
            ".docker/config.json",
            json!({ "auths": { format!("https://{}/v1/", registry.host()): { "auth": PAIR } } }),
        ),
        (".dockercfg", entry.clone()),
    ] {
        with(&["pull", "--quiet", &name]).fails(125);
        let path = home.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text.to_string()).unwrap();
        with(&["pull", "--quiet", &name]).succeeds();
        std::fs::remove_file(&path).unwrap();
    }
    with(&["login", "-u", "user", "-p", "secret", &registry.host()]).succeeds();
    assert_eq!(
        document(&runtime.join("containers/auth.json").display().to_string()),
        json!({ "auths": entry })
    );
    with(&["pull", "--quiet", &name]).succeeds();
    // As `docker` it is Docker's file that is written.
    let mut docker = called(&world, "docker", &["login", "-u", "user", "-p", "secret", &registry.host()]);
    run(docker.env("XDG_RUNTIME_DIR", &runtime), Patience::NORMAL).succeeds();
    assert_eq!(document(&home.join(".docker/config.json").display().to_string()), json!({ "auths": entry }));
}

#[test]
fn a_password_is_read_from_a_pipe_or_a_terminal() {
    let world = world();
    let (registry, file) = (guarded(), world.path("auth.json").display().to_string());
    let host = registry.host();
    let piped = ["login", "--authfile", &file, "--username", "user", "--password-stdin", &host];
    world.loment_with_input(piped, "secret\n").succeeds();
    let again = world.loment(["login", "--authfile", &file, &host]);
    assert!(again.succeeds().ends_with(&format!("Already logged in to {host}")), "{again}");
    std::fs::remove_file(&file).unwrap();
    let mut terminal = Terminal::start(&world.command(["login", "--authfile", &file, &host]));
    terminal.shows("Username: ");
    terminal.types("user\n");
    terminal.shows("Password: ");
    terminal.types("secret\n");
    assert_eq!(terminal.ends(), 0, "{}", terminal.screen());
    assert!(!terminal.screen().contains("secret") && terminal.screen().contains("Login Succeeded!"));
    for (arguments, said) in [
        (&["-p", "x", "--password-stdin"][..], "Can't specify both --password-stdin and --password"),
        (&["--password-stdin"], "Must provide --username with --password-stdin"),
        (&["-u", "other"], "use --password-stdin where there is no terminal"),
        (&["--secret", "s"], "no such secret"),
    ] {
        let failed = world.loment([&["login", "--authfile", "none"], arguments, &[host.as_str()]].concat());
        failed.fails_saying(125, &[said]);
    }
}

#[test]
fn logins_are_shown_and_taken_away() {
    let world = world();
    let (registry, file) = (guarded(), world.path("auth.json").display().to_string());
    let (host, team) = (registry.host(), registry.name("team"));
    let with = |arguments: &[&str]| world.loment([arguments, &["--authfile", &file]].concat());
    world
        .loment(["logout", "--authfile", "/nonesuch", &host])
        .fails_saying(125, &["credential file is not accessible"]);
    with(&["login", "--get-login", &host]).fails_saying(125, &[&format!("not logged into {host}")]);
    for key in [&host, &team, &format!("http://{host}/v1/")] {
        with(&["login", "-u", "user", "-p", "secret", key]).succeeds();
    }
    let both = json!({ "auths": { &host: { "auth": PAIR }, &team: { "auth": PAIR } } });
    assert_eq!(document(&file), both);
    assert_eq!(with(&["login", "--get-login", &host]).succeeds(), "user");
    // The namespace's own login is the one that counts for it.
    let mut other = both;
    other["auths"][&team]["auth"] = "dXNlcjp3cm9uZw==".into();
    std::fs::write(&file, other.to_string()).unwrap();
    with(&["pull", "--quiet", &registry.name("team/app:1")]).fails_saying(125, &["unauthorized"]);
    with(&["pull", "--quiet", &registry.name("multi:latest")]).succeeds();
    assert_eq!(with(&["logout", &team]).succeeds(), format!("Removed login credentials for {team}"));
    // The registry's login is what it has now.
    let still = with(&["logout", &team]);
    assert!(still.succeeds().starts_with(&format!("Not logged into {team} with current tool")), "{still}");
    with(&["logout", "--all", &host]).fails_saying(125, &["--all takes no arguments"]);
    assert_eq!(with(&["logout", "--all"]).succeeds(), "Removed login credentials for all registries");
    assert_eq!(document(&file), json!({ "auths": {} }));
    with(&["logout", &host]).fails_saying(125, &[&format!("not logged into {host}")]);
}

#[test]
fn skopeo_and_podman_use_our_logins_and_we_use_theirs() {
    let world = world();
    let registry = guarded();
    let (host, name) = (registry.host(), registry.name("multi:latest"));
    let ours = world.path("ours.json").display().to_string();
    login(&world, &registry, &["--authfile", &ours]).succeeds();
    let docker = world.path("docker.json").display().to_string();
    login(&world, &registry, &["--compat-auth-file", &docker]).succeeds();
    for file in [&ours, &docker] {
        let mut skopeo = Command::new("skopeo");
        skopeo
            .args(["inspect", "--raw", "--tls-verify=false", "--authfile", file])
            .arg(format!("docker://{name}"));
        run(&mut skopeo, Patience::NORMAL).succeeds();
        let mut skopeo = Command::new("skopeo");
        let shown = run(skopeo.args(["login", "--get-login", "--authfile", file, &host]), Patience::NORMAL);
        assert_eq!(shown.succeeds(), "user");
    }
    for program in ["skopeo", "podman"] {
        let file = world.path(program).display().to_string();
        let mut theirs = Command::new(program);
        theirs.args([
            "login",
            "-u",
            "user",
            "-p",
            "secret",
            "--tls-verify=false",
            "--authfile",
            &file,
            &host,
        ]);
        run(&mut theirs, Patience::NORMAL).succeeds();
        world.loment(["pull", "--quiet", "--authfile", &file, &name]).succeeds();
        assert_eq!(world.loment(["login", "--get-login", "--authfile", &file, &host]).succeeds(), "user");
        world.loment(["logout", "--authfile", &file, &host]).succeeds();
        let mut shown = Command::new(program);
        let shown = run(shown.args(["login", "--get-login", "--authfile", &file, &host]), Patience::NORMAL);
        assert_ne!(shown.code, 0, "{shown}");
    }
}

/// A helper that keeps logins in files below `kept`, and the PATH with it.
fn helper(world: &World, name: &str) -> String {
    let (bin, kept) = (world.path("bin"), world.path("kept"));
    for directory in [&bin, &kept] {
        std::fs::create_dir_all(directory).expect("make a directory");
    }
    let script = format!(
        r#"#!/bin/sh
cd {kept} || exit 1
case $1 in
store) input=$(cat); server=$(printf %s "$input" | sed 's/.*"ServerURL":"\([^"]*\)".*/\1/'); printf %s "$input" > "$(printf %s "$server" | tr / _)";;
get) read -r server; file=$(printf %s "$server" | tr / _); [ -f "$file" ] && cat "$file" || {{ echo "credentials not found in native keychain"; exit 1; }};;
erase) read -r server; file=$(printf %s "$server" | tr / _); [ -f "$file" ] && rm "$file" || {{ echo "credentials not found in native keychain"; exit 1; }};;
list) printf '{{'; for f in *; do [ -f "$f" ] && printf '"%s":"user"' "$f"; done; printf '}}';;
esac
"#,
        kept = kept.display()
    );
    let path = bin.join(format!("docker-credential-{name}"));
    std::fs::write(&path, script).expect("write a script");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("make it executable");
    format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display())
}

#[test]
fn helper_programs_keep_logins() {
    let world = world();
    let registry = guarded();
    let (host, name) = (registry.host(), registry.name("multi:latest"));
    let path = helper(&world, "test");
    let kept = world.path("kept").join(&host);
    let with = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        command.env("PATH", &path).env("XDG_RUNTIME_DIR", world.path("runtime"));
        run(&mut command, Patience::NORMAL)
    };
    // One registry's helper, named in a file.
    let file = world.write("auth.json", json!({ "credHelpers": { &host: "test" } }).to_string());
    with(&["pull", "--quiet", "--authfile", &file, &name]).fails_saying(125, &["unauthorized"]);
    let login = ["login", "--verbose", "-u", "user", "-p", "secret", "--authfile", &file, &host];
    assert_eq!(with(&login).succeeds(), "Used:  credential helper: test\nLogin Succeeded!");
    let saved = document(&kept.display().to_string());
    assert_eq!(saved, json!({ "ServerURL": host, "Username": "user", "Secret": "secret" }));
    assert_eq!(document(&file), json!({ "credHelpers": { &host: "test" } }));
    with(&["pull", "--quiet", "--authfile", &file, &name]).succeeds();
    with(&["logout", "--authfile", &file, &host]).succeeds();
    assert!(!kept.exists());
    // One for all, named in registries.conf.
    configure(&world, "registries.conf", "credential-helpers = [\"test\", \"containers-auth.json\"]\n");
    with(&["login", "-u", "user", "-p", "secret", &host]).succeeds();
    assert!(kept.exists() && !world.path("runtime").join("containers/auth.json").exists());
    with(&["pull", "--quiet", &name]).succeeds();
    with(&["logout", "--all"]).succeeds();
    assert!(!kept.exists());
    // One that is missing, or that fails, is named.
    configure(&world, "registries.conf", "");
    for (helper, said) in
        [("missing", "docker-credential-missing is not installed"), ("../x", "its name may have")]
    {
        let file = world.write("auth.json", json!({ "credHelpers": { &host: helper } }).to_string());
        with(&["pull", "--quiet", "--authfile", &file, &name]).fails_saying(125, &[said]);
    }
    // Docker's store for everything is asked too, and need not be there.
    let store = |helper: &str| world.write("auth.json", json!({ "credsStore": helper }).to_string());
    with(&["pull", "--quiet", "--authfile", &store("missing"), &name]).fails_saying(125, &["unauthorized"]);
    std::fs::write(&kept, saved.to_string()).unwrap();
    with(&["pull", "--quiet", "--authfile", &store("test"), &name]).succeeds();
}

#[test]
fn nobody_logs_in_when_that_is_asked_for() {
    let world = world();
    let registry = guarded();
    let file = world.path("auth.json").display().to_string();
    login(&world, &registry, &["--authfile", &file]).succeeds();
    let image = format!("docker://{}", registry.name("multi:latest"));
    let inspect = ["image", "inspect", "--raw", "--authfile", &file, &image];
    world.loment(inspect).succeeds();
    world.loment([&inspect[..], &["--no-creds"]].concat()).fails_saying(125, &["unauthorized"]);
}

#[test]
fn a_mirror_gets_its_own_login_only() {
    let world = world();
    let (mirror, empty) = (guarded(), Registry::empty());
    let conf = format!(
        "[[registry]]\nprefix = \"images.test\"\nlocation = {:?}\n[[registry.mirror]]\nlocation = {:?}\n",
        empty.host(),
        mirror.host()
    );
    configure(&world, "registries.conf", &conf);
    let name = "images.test/multi:latest";
    let failed = world.loment(["pull", "--quiet", "--creds", "user:secret", name]);
    failed.fails_saying(
        125,
        &["mirrors also failed", "unauthorized: ", "wants credentials", "manifest unknown"],
    );
    let file = json!({ "auths": { mirror.host(): { "auth": PAIR } } }).to_string();
    let file = world.write("auth.json", file);
    world.loment(["pull", "--quiet", "--authfile", &file, name]).succeeds();
}

#[test]
fn whoever_can_enter_the_directory_of_logins_cannot_keep_others_from_saving_some() {
    let (world, registry) = (world(), guarded());
    let dir = world.path("auth");
    std::fs::create_dir(&dir).expect("make a directory");
    let file = dir.join("auth.json").display().to_string();
    // As anybody could who may enter it.
    let held = std::fs::File::open(&dir).expect("open the directory");
    held.lock().expect("lock it");
    login(&world, &registry, &["--authfile", &file]).succeeds();
    assert_eq!(document(&file), json!({ "auths": { registry.host(): { "auth": PAIR } } }));
    drop(held);
    // Several at once, and nothing but the file is left.
    let hosts: Vec<_> = (0..6).map(|n| format!("h{n}.test")).collect();
    let known = json!({ "auths": hosts.iter().map(|h| (h.clone(), json!({ "auth": PAIR }))).collect::<serde_json::Map<_, _>>() });
    std::fs::write(&file, known.to_string()).expect("write a file");
    std::thread::scope(|scope| {
        for host in &hosts {
            scope.spawn(|| world.loment(["logout", "--authfile", &file, host]).succeeds().len());
        }
    });
    assert_eq!(document(&file), json!({ "auths": {} }));
    assert_eq!(std::fs::read_dir(&dir).expect("list it").count(), 1);
}

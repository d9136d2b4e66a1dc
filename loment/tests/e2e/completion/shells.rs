//! The scripts, in the shells that they are for.

use std::process::Command;

use loment_testkit::{Patience, Terminal, World, run};

use crate::world_with;

/// A world in which our program is found by its name, with something to complete, and the script for a shell in a file.
fn scene(shell: &str) -> (World, String) {
    let (world, image) = world_with("busybox:latest");
    for name in ["loment", "podman"] {
        let (binary, root, runroot) = (env!("CARGO_BIN_EXE_loment"), world.root(), world.runroot());
        let link = world.path(&format!("real/{name}"));
        std::fs::create_dir_all(link.parent().expect("it is in a directory")).expect("make a directory");
        std::os::unix::fs::symlink(binary, &link).expect("make a link");
        let (link, root, runroot) = (link.display(), root.display(), runroot.display());
        let text = format!("#!/bin/sh\nexec {link} --root {root} --runroot {runroot} \"$@\"\n");
        let path = world.write(name, text);
        run(Command::new("chmod").args(["+x", &path]), Patience::NORMAL).succeeds();
        let script = world.path(&format!("{name}.{shell}"));
        world
            .named(name, ["completion".as_ref(), shell.as_ref(), "-f".as_ref(), script.as_os_str()])
            .succeeds();
    }
    world.loment(["create", "--name", "seedling", &image, "true"]).succeeds();
    world.write("some-file", "");
    (world, image)
}

fn in_path(world: &World, program: &str) -> Command {
    let mut command = world.bare();
    let path = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, value)| value);
    let path = format!("{}:{}", world.path("").display(), path.expect("it is set").display());
    let variables: Vec<_> =
        command.get_envs().map(|(n, v)| (n.to_owned(), v.map(ToOwned::to_owned))).collect();
    command = Command::new(program);
    command.env_clear().envs(variables.into_iter().filter_map(|(n, v)| Some((n, v?))));
    command.env("PATH", path).env("PS1", "ready> ").current_dir(world.path(""));
    command
}

/// Types, completes, and waits for what comes of it; the line is thrown away.
#[track_caller]
fn completes(terminal: &mut Terminal, typed: &str, becomes: &str) {
    terminal.types(typed);
    terminal.types("\t");
    terminal.shows(becomes);
    terminal.types("\u{15}");
}

#[test]
fn bash_completes() {
    let (world, _) = scene("bash");
    let mut terminal = Terminal::start(in_path(&world, "bash").args(["--norc", "--noprofile", "-i"]));
    terminal.shows("ready> ");
    for name in ["loment", "podman"] {
        terminal.types(&format!("source {name}.bash\n"));
        completes(&mut terminal, &format!("{name} unpa"), &format!("{name} unpause "));
    }
    completes(&mut terminal, "loment start seed", "loment start seedling ");
    completes(&mut terminal, "loment run --log-driver=journ", "--log-driver=journald ");
    completes(&mut terminal, "loment run --network=container:seed", "container:seedling ");
    completes(&mut terminal, "loment rmi 127.0.0.1", "127.0.0.1:");
    completes(&mut terminal, "loment --root \"/x y\" run --env-file some-f", "--env-file some-file ");
    completes(&mut terminal, "loment cp seed", "loment cp seedling:");
    terminal.types("alias whale=loment; complete -o default -F __loment_complete whale\n");
    completes(&mut terminal, "whale start seed", "whale start seedling ");
    // Nothing that stands in the line is executed.
    completes(&mut terminal, "loment run -e '$(touch made)' --pul", "' --pull ");
    assert!(!world.path("made").exists());
    // A list says what things are for.
    terminal.types("loment unp\t\t\u{15}loment un\t\t");
    terminal.shows("(Let paused containers go on)");
    terminal.types("\u{15}exit\n");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn zsh_completes() {
    let (world, _) = scene("zsh");
    let mut terminal = Terminal::start(in_path(&world, "zsh").args(["-f", "-i"]));
    terminal.types("PROMPT='ready''> '; autoload -Uz compinit && compinit -u -d dump\n");
    terminal.shows("ready> ");
    for name in ["loment", "podman"] {
        terminal.types(&format!("source ./{name}.zsh\n"));
        completes(&mut terminal, &format!("{name} unpa"), "use");
    }
    completes(&mut terminal, "loment start seed", "ling");
    completes(&mut terminal, "loment run --log-driver=journ", "ald");
    completes(&mut terminal, "loment run --env-file some-f", "ile");
    terminal.types("alias whale=loment\n");
    completes(&mut terminal, "whale stop --sig", "nal");
    terminal.types("loment un\t");
    terminal.shows("-- Let paused containers go on");
    terminal.types("\u{15}exit\n");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn fish_completes() {
    let (world, _) = scene("fish");
    let complete = |name: &str, typed: &str| {
        let script = format!("source {name}.fish; alias whale=loment; complete -C '{typed}'");
        run(in_path(&world, "fish").args(["--no-config", "-c", &script]), Patience::NORMAL)
            .succeeds()
            .to_owned()
    };
    for name in ["loment", "podman"] {
        assert_eq!(complete(name, &format!("{name} unpa")), "unpause\tLet paused containers go on");
    }
    assert_eq!(complete("loment", "loment start "), "seedling");
    assert_eq!(complete("loment", "whale start "), "seedling");
    assert_eq!(complete("loment", "loment run --log-driver=journ"), "--log-driver=journald");
    assert_eq!(complete("loment", "loment run --network container:"), "container:seedling");
    assert_eq!(complete("loment", "loment run --env-file some-f"), "some-file");
    assert!(complete("loment", "loment create --rootfs rea").starts_with("real/"));
    let pull = complete("loment", "loment run -e \"(touch made)\" --pul");
    assert!(pull.starts_with("--pull\tChoose when"), "{pull}");
    assert!(!world.path("made").exists());
}

#[test]
fn scripts_are_printed_or_refused() {
    let (world, _) = scene("bash");
    for shell in ["bash", "fish", "zsh"] {
        let script = world.named("docker", ["completion", shell]);
        let text = script.succeeds();
        assert!(
            text.contains("docker") && text.contains("__complete ") && !text.contains("@NAME@"),
            "{text}"
        );
        let plain = world.loment(["completion", "--no-desc", shell]);
        assert!(plain.succeeds().contains("__completeNoDesc "));
    }
    world.loment(["completion", "powershell"]).fails_saying(125, &["refused", "use bash, fish or zsh"]);
    world.loment(["completion", "csh"]).fails_saying(125, &["csh", "use bash, fish or zsh"]);
}

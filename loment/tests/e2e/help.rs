//! The help of every command. It is one snapshot for each command line: CONTRIBUTING.md says how to accept a change.

use loment_testkit::World;

use crate::world;

/// The names in the list of commands that `overview` has.
fn commands(overview: &str) -> Vec<&str> {
    let list = overview.split("Commands:\n").nth(1).expect("an overview lists the commands");
    list.lines().map_while(|line| line.strip_prefix("  ")?.split(' ').next()).collect()
}

/// The help of `program` and, one after the other, of each of its commands.
#[track_caller]
fn tree(world: &World, program: &str) -> String {
    let overview = world.named(program, ["--help"]).succeeds().to_owned();
    let mut tree = format!("$ {program} --help\n{overview}\n");
    for command in commands(&overview) {
        let output = world.named(program, [command, "--help"]);
        let help = output.succeeds();
        let about = help.lines().next().unwrap_or_default();
        assert!(overview.contains(&format!(" {about}\n")), "the overview says something else\n{output}");
        tree += &format!("\n$ {program} {command} --help\n{help}\n");
        if !help.contains("\nCommands:\n") {
            continue;
        }
        for word in commands(help) {
            let output = world.named(program, [command, word, "--help"]);
            let below = output.succeeds();
            // Those that have a first word of their own are in the list already.
            if below.contains(&format!("\nUsage: {program} {command} {word} ")) {
                tree += &format!("\n$ {program} {command} {word} --help\n{below}\n");
            }
        }
    }
    tree
}

#[test]
fn the_engines_help_is_as_reviewed() {
    let tree = tree(&world(), "loment");
    insta::assert_snapshot!("engine", tree);
}

#[test]
fn the_runtimes_help_is_as_reviewed() {
    let tree = tree(&world(), "loment-runtime");
    insta::assert_snapshot!("runtime", tree);
}

#[test]
fn other_names_change_nothing_but_the_name() {
    let world = world();
    let engine = tree(&world, "loment");
    for name in ["podman", "docker"] {
        assert_eq!(tree(&world, name).replace(&format!("{name} "), "loment "), engine, "{name}");
    }
    let runtime = tree(&world, "loment-runtime");
    for name in ["runc", "crun"] {
        assert_eq!(tree(&world, name).replace(&format!("$ {name} "), "$ loment-runtime "), runtime, "{name}");
    }
}

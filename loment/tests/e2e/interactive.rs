//! What a person sees who works with containers in a terminal: in tmux.

use loment_testkit::Tmux;

use crate::{eventually, sleeper, world_with};

const SHELL: &str = "-it --network none -e 'PS1=inside> ' --name c";

/// In the terminal's foreground as a whole, which is told of sizes.
const TELLS_SIZE: &str =
    "clear; sh -c 'trap \"echo now \\$(stty size)\" WINCH; echo waits; while :; do sleep 0.1; done'";

/// The settings of the shell's terminal, without its size.
#[track_caller]
fn settings(tmux: &Tmux) -> String {
    tmux.clears();
    tmux.enters("stty -g");
    tmux.until("settings", |screen| screen.lines().nth(1).is_some_and(|line| line.contains(':')));
    tmux.waits();
    tmux.screen().lines().nth(1).unwrap().to_owned()
}

#[test]
fn a_shell_in_a_container_knows_the_terminal_and_gives_it_back() {
    let (world, image) = world_with("busybox:latest");
    let tmux = Tmux::start(&world);
    let before = settings(&tmux);
    tmux.enters(&format!("l run --rm {SHELL} {image} sh"));
    tmux.shows("inside>");
    tmux.enters("clear; stty size");
    tmux.shows("24 80");
    // Who draws on the screen is told of its new size.
    tmux.enters(TELLS_SIZE);
    tmux.shows("waits");
    tmux.resize(30, 100);
    tmux.shows("now 30 100");
    // It ends what runs, not the shell and not the front end.
    tmux.presses(&["C-c"]);
    tmux.until("the shell inside waits", |screen| screen.trim_end().ends_with("inside>"));
    tmux.enters("clear; sleep 100");
    tmux.presses(&["C-z"]);
    tmux.until("it is stopped", |screen| screen.contains("Stopped"));
    tmux.enters("kill -9 %1; wait %1; exit 3; exit 3");
    tmux.waits();
    tmux.enters("echo status $?");
    tmux.shows("status 3");
    assert_eq!(settings(&tmux), before);
}

#[test]
fn keys_leave_a_container_to_itself_and_attach_comes_back() {
    let (world, image) = world_with("busybox:latest");
    let tmux = Tmux::start(&world);
    let before = settings(&tmux);
    tmux.enters(&format!("l run {SHELL} {image} sh"));
    tmux.shows("inside>");
    tmux.presses(&["C-p", "C-q"]);
    tmux.waits();
    assert_eq!(world.inspect("{{.State.Status}}", "c"), "running");
    assert_eq!(settings(&tmux), before);
    tmux.resize(20, 90);
    tmux.clears();
    tmux.enters("l attach --detach-keys ctrl-x,y c");
    // A size that changed in between is known at once.
    tmux.types("\n");
    tmux.shows("inside>");
    tmux.enters("clear; stty size");
    tmux.shows("20 90");
    // A beginning of the keys that goes on in another way is the program's.
    tmux.enters("clear; cat -v");
    tmux.presses(&["C-x", "z", "Enter"]);
    tmux.shows("^Xz");
    tmux.presses(&["C-c", "C-x", "y"]);
    tmux.waits();
    assert_eq!(world.inspect("{{.State.Status}}", "c"), "running");
    // What was typed last came to the program, too.
    tmux.clears();
    tmux.enters("l attach c");
    tmux.types("\n");
    tmux.shows("inside>");
    tmux.enters("exit 4");
    tmux.waits();
    assert_eq!(world.inspect("{{.State.Status}} {{.State.ExitCode}}", "c"), "exited 4");
    assert_eq!(settings(&tmux), before);
}

#[test]
fn a_second_program_has_the_terminal_as_the_first_has() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "c", &[], &image);
    let tmux = Tmux::start(&world);
    let before = settings(&tmux);
    tmux.enters("l exec -it -e 'PS1=inside> ' c sh");
    tmux.shows("inside>");
    tmux.enters(TELLS_SIZE);
    tmux.shows("waits");
    tmux.resize(31, 99);
    tmux.shows("now 31 99");
    tmux.presses(&["C-c"]);
    tmux.until("the shell inside waits", |screen| screen.trim_end().ends_with("inside>"));
    tmux.presses(&["C-p", "C-q"]);
    tmux.waits();
    assert_eq!(settings(&tmux), before);
    // A screen of another kind, and back.
    tmux.clears();
    tmux.enters("l exec -it c vi /etc/passwd");
    tmux.until("an editor", |screen| screen.contains("root:x:0:0") && screen.contains("/etc/passwd"));
    tmux.types(":q!\n");
    tmux.waits();
    assert_eq!(settings(&tmux), before);
}

#[test]
fn what_is_shown_again_and_again_is_drawn_over_and_ends_with_a_key() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "first", &[], &image);
    let tmux = Tmux::start(&world);
    let before = settings(&tmux);
    tmux.clears();
    tmux.enters("l ps --watch 1 --format '{{.Names}} {{.State}}'");
    tmux.shows("first running");
    sleeper(&world, "second", &[], &image);
    tmux.shows("second running");
    world.loment(["rm", "-f", "-t", "0", "first"]).succeeds();
    tmux.until("it is not there any more", |screen| {
        !screen.contains("first running") && screen.contains("second running")
    });
    tmux.presses(&["C-c"]);
    tmux.waits();
    tmux.clears();
    tmux.enters("l stats --interval 1");
    tmux.until("figures", |screen| screen.lines().filter(|line| line.contains("second")).count() == 1);
    sleeper(&world, "third", &[], &image);
    // Each has one line, however often it is drawn.
    tmux.until("both once", |screen| {
        ["second", "third"].map(|name| screen.lines().filter(|line| line.contains(name)).count()) == [1, 1]
    });
    tmux.presses(&["C-c"]);
    tmux.waits();
    assert_eq!(settings(&tmux), before);
}

#[test]
fn a_log_that_is_followed_ends_with_a_key_and_its_container_goes_on() {
    let (world, image) = world_with("busybox:latest");
    let script = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.2; done";
    world.loment(["run", "-d", "--network", "none", "--name", "c", &image, "sh", "-c", script]).succeeds();
    let tmux = Tmux::start(&world);
    let before = settings(&tmux);
    tmux.enters("l logs -f c");
    tmux.shows("line 3");
    tmux.presses(&["C-c"]);
    tmux.waits();
    let lines = || world.loment(["logs", "c"]).stdout.lines().count();
    let then = lines();
    eventually("it goes on", || lines() > then);
    tmux.clears();
    // One without a terminal of its own is sent the signal.
    tmux.enters(&format!("l run --rm --init --network none {image} sh -c 'echo runs; sleep 100'"));
    tmux.shows("runs");
    tmux.presses(&["C-c"]);
    tmux.waits();
    tmux.enters("echo status $?");
    tmux.shows("status 130");
    assert_eq!(settings(&tmux), before);
}

//! `-it`: a real terminal.

use loment_testkit::Terminal;

use crate::{eventually, pid_of, sleeper, world_with};

#[test]
fn run_with_a_terminal_is_interactive() {
    let (world, image) = world_with("busybox:latest");
    let command =
        world.command(["run", "--rm", "-it", "--network", "none", "-e", "PS1=ready> ", &image, "sh"]);
    let mut terminal = Terminal::start(&command);
    terminal.shows("ready> ");
    terminal.types("tty; stty size; echo $TERM\n");
    terminal.shows("/dev/pts/0");
    terminal.shows("24 80");
    terminal.shows("xterm");
    terminal.types("exit 5\n");
    assert_eq!(terminal.ends(), 5);
}

#[test]
fn the_size_is_there_from_the_beginning() {
    let (world, image) = world_with("busybox:latest");
    let command = world.command(["run", "--rm", "-t", "--network", "none", &image, "stty", "size"]);
    let mut terminal = Terminal::start(&command);
    terminal.shows("24 80");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn a_new_size_reaches_the_container() {
    let (world, image) = world_with("busybox:latest");
    let command =
        world.command(["run", "--rm", "-it", "--network", "none", "-e", "PS1=ready> ", &image, "sh"]);
    let mut terminal = Terminal::start(&command);
    terminal.shows("ready> ");
    terminal.resize(41, 123);
    terminal.types("sleep 0.3; stty size\n");
    terminal.shows("41 123");
    terminal.types("exit\n");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn keys_that_mean_signals_go_to_the_container() {
    let (world, image) = world_with("busybox:latest");
    let command =
        world.command(["run", "--rm", "-it", "--network", "none", "-e", "PS1=ready> ", &image, "sh"]);
    let mut terminal = Terminal::start(&command);
    terminal.shows("ready> ");
    terminal.types("sleep 1000\n");
    terminal.shows("sleep 1000");
    std::thread::sleep(std::time::Duration::from_millis(200));
    terminal.types("\u{3}");
    terminal.types("echo status $?\n");
    terminal.shows("status 130");
    terminal.types("exit\n");
    terminal.ends();
}

#[test]
fn ctrl_p_ctrl_q_leaves_the_container_running() {
    let (world, image) = world_with("busybox:latest");
    let arguments = ["run", "-it", "--network", "none", "--name", "c", "-e", "PS1=ready> ", &image, "sh"];
    let mut terminal = Terminal::start(&world.command(arguments));
    terminal.shows("ready> ");
    terminal.types("\u{10}\u{11}");
    assert_eq!(terminal.ends(), 0);
    assert_eq!(world.inspect("{{.State.Status}}", "c"), "running");
}

#[test]
fn exec_with_a_terminal_is_interactive_too() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "c", &[], &image);
    let command = world.command(["exec", "-it", "-e", "PS1=ready> ", "c", "sh"]);
    let mut terminal = Terminal::start(&command);
    terminal.shows("ready> ");
    terminal.resize(33, 99);
    terminal.types("sleep 0.3; stty size; exit 4\n");
    terminal.shows("33 99");
    assert_eq!(terminal.ends(), 4);
}

#[test]
fn a_terminal_that_goes_away_leaves_the_container() {
    let (world, image) = world_with("busybox:latest");
    let arguments = ["run", "-it", "--network", "none", "--name", "c", "-e", "PS1=ready> ", &image, "sh"];
    let terminal = Terminal::start(&world.command(arguments));
    terminal.shows("ready> ");
    let pid = pid_of(&world, "c");
    drop(terminal);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(crate::lives(pid));
    eventually("it is still shown as running", || world.inspect("{{.State.Status}}", "c") == "running");
}

#[test]
fn without_a_terminal_of_ours_the_flag_still_gives_the_container_one() {
    let (world, image) = world_with("busybox:latest");
    let output = world.loment(["run", "--rm", "-t", "--network", "none", &image, "tty"]);
    assert_eq!(output.succeeds().trim_end(), "/dev/pts/0");
}

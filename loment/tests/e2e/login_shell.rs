//! `sh`, and `podmansh`: a login shell in a container.

use std::process::{Child, Command, Stdio};

use loment_testkit::{Patience, Terminal, World, run};

use crate::{sleeper, through, world, world_over_directory};

/// `sh` with what containers.conf says in its table podmansh.
fn shell(world: &World, conf: &str, arguments: &[&str]) -> Command {
    let conf = world.write("containers.conf", format!("[podmansh]\n{conf}\n"));
    let mut command = world.command([&["sh"], arguments].concat());
    command.env("CONTAINERS_CONF", conf);
    command
}

/// A program that is ended, whatever happens.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_is_that_of_the_container_that_is_named() {
    let (world, rootfs) = world_over_directory();
    sleeper(&world, "box", &["--hostname", "boxed", "--rootfs"], &rootfs);
    let conf = "container = \"box\"\nshell = \"/bin/ash\"";
    let said = run(
        &mut shell(&world, conf, &["-c", "echo $0 on $(hostname) $1; exit 3", "ash", "-x"]),
        Patience::NORMAL,
    );
    assert_eq!((said.code, said.stdout.as_str()), (3, "ash on boxed -x\n"), "{said}");
    let mut terminal = Terminal::start(shell(&world, conf, &[]).env("PS1", "outside> "));
    terminal.shows("# ");
    terminal.types("echo at $(hostname):$(tty)\n");
    terminal.shows("at boxed:/dev/");
    terminal.types("exit 4\n");
    assert_eq!(terminal.ends(), 4);
}

#[test]
fn it_waits_for_the_container_and_not_for_ever() {
    let world = world();
    run(&mut shell(&world, "timeout = 1", &[]), Patience::NORMAL)
        .fails_saying(125, &["timed out waiting for container: podmansh"]);
    let (world, rootfs) = world_over_directory();
    let mut waiting = shell(&world, "container = \"late\"", &["-c", "hostname"]);
    let mut waiting = Running(waiting.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap());
    world
        .loment([
            "create",
            "--network",
            "none",
            "--name",
            "late",
            "--hostname",
            "came",
            "--rootfs",
            &rootfs,
            "sleep",
            "600",
        ])
        .succeeds();
    assert!(waiting.0.try_wait().unwrap().is_none(), "it has not waited");
    world.loment(["start", "late"]).succeeds();
    let said = std::io::read_to_string(waiting.0.stdout.take().unwrap()).unwrap();
    assert_eq!((said.as_str(), waiting.0.wait().unwrap().code()), ("came\n", Some(0)));
    world.loment(["rm", "--force", "--time", "0", "late"]).succeeds();
}

#[test]
fn podmansh_is_a_shell_by_its_name() {
    let (world, rootfs) = world_over_directory();
    sleeper(&world, "podmansh", &["--hostname", "locked", "--rootfs"], &rootfs);
    let link = world.dir().join("podmansh");
    std::os::unix::fs::symlink(world.binary(), &link).unwrap();
    // A login shell is given no directories: in a mount namespace of its own the usual ones are this world's.
    let (root, run_root) = (world.root(), world.runroot());
    let script =
        "mount -t tmpfs none /var/lib && mount -t tmpfs none /run && mkdir /var/lib/loment /run/loment &&
        mount --bind \"$1\" /var/lib/loment && mount --bind \"$2\" /run/loment && shift 2 && exec \"$@\"";
    let enter = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"];
    let enter = [&enter[..], &[root.to_str().unwrap(), run_root.to_str().unwrap()]].concat();
    let mut podmansh = Command::new(link);
    podmansh
        .args(["-c", "hostname; echo \"$1\"", "sh", "--help"])
        .envs(world.bare().get_envs().filter_map(|(n, v)| Some((n, v?))));
    assert_eq!(run(&mut through(&enter, &podmansh), Patience::NORMAL).succeeds(), "locked\n--help");
}

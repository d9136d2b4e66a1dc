//! Containers as services of systemd: readiness, their end, sockets.

use std::fs;
use std::path::Path;
use std::process::Command;

use loment_testkit::{Patience, World, run};

use crate::eventually;
use crate::groups::systemctl;

const SERVICE: &str = "loment-vm-notify.service";
const SOCKET: &str = "loment-vm-notify.socket";
const UNITS: &str = "/run/systemd/system";

/// Units that are gone whatever happens.
struct Units;

impl Drop for Units {
    fn drop(&mut self) {
        for words in [&["stop", SOCKET, SERVICE][..], &["reset-failed", SERVICE]] {
            drop(Command::new("systemctl").args(words).output());
        }
        for unit in [SERVICE, SOCKET] {
            drop(fs::remove_file(Path::new(UNITS).join(unit)));
        }
        drop(Command::new("systemctl").arg("daemon-reload").output());
    }
}

/// A service that runs a container called `c` over the machine's own files.
fn service(world: &World, flags: &str, script: &str) -> Units {
    let loment = world.command([""; 0]);
    let words = std::iter::once(loment.get_program()).chain(loment.get_args());
    let loment = words.map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ");
    let unit = format!(
        "[Service]\nType=notify\nNotifyAccess=all\nTimeoutStartSec=120\n\
         ExecStart={loment} run --name c --network none {flags} --rootfs /:O sh -c '{script}'\n\
         ExecStop={loment} stop -t 1 c\nExecStopPost={loment} rm -f c\n"
    );
    fs::write(Path::new(UNITS).join(SERVICE), unit).unwrap();
    systemctl(&["daemon-reload"]);
    Units
}

#[track_caller]
fn show(property: &str) -> String {
    let mut command = Command::new("systemctl");
    command.args(["show", "--value", "--property", property, SERVICE]);
    run(&mut command, Patience::NORMAL).succeeds().to_owned()
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_service_is_ready_when_its_container_says_so_and_ends_as_that_does() {
    let (world, _) = crate::world();
    for flags in ["-d", ""] {
        let script = "systemd-notify \"--status=warm\"; until test -e /dev/shm/go; do sleep 0.1; done; systemd-notify --ready; \
                      until test -e /dev/shm/end; do sleep 0.1; done; exit 3";
        let units = service(&world, flags, script);
        systemctl(&["start", "--no-block", SERVICE]);
        eventually("it says how it is", || show("StatusText") == "warm");
        assert_eq!(show("ActiveState"), "activating");
        // The monitor is the service, whatever becomes of the command.
        assert_eq!(show("MainPID"), world.inspect("{{.State.ConmonPid}}", "c"));
        world.loment(["exec", "c", "touch", "/dev/shm/go"]).succeeds();
        eventually("it is ready", || show("ActiveState") == "active");
        world.loment(["exec", "c", "touch", "/dev/shm/end"]).succeeds();
        eventually("it has failed", || show("ActiveState") == "failed");
        assert_eq!((show("ExecMainStatus"), show("Result")), ("3".to_owned(), "exit-code".to_owned()));
        drop(units);
        assert_eq!(world.leftovers(), [""; 0]);
    }
    let mut journal = Command::new("journalctl");
    let journal = run(journal.args(["-u", SERVICE, "--no-pager"]), Patience::NORMAL);
    assert!(!journal.stdout.contains("not our child"), "{journal}");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_service_is_ready_when_its_container_runs_or_is_healthy() {
    let (world, _) = crate::world();
    let script = "trap \"exit 0\" TERM; while :; do sleep 0.1; done";
    let healthy = "-d --sdnotify healthy --health-interval 1s --health-cmd \"test -e /dev/shm/well\"";
    for flags in ["-d --sdnotify conmon", healthy] {
        let _units = service(&world, flags, script);
        systemctl(&["start", "--no-block", SERVICE]);
        if flags == healthy {
            let runs = || world.loment(["exec", "c", "true"]).code == 0;
            eventually("it runs", runs);
            assert_eq!(show("ActiveState"), "activating");
            world.loment(["exec", "c", "touch", "/dev/shm/well"]).succeeds();
        }
        eventually("it is ready", || show("ActiveState") == "active");
        assert_eq!(show("MainPID"), world.inspect("{{.State.ConmonPid}}", "c"));
        systemctl(&["stop", SERVICE]);
        assert_eq!((show("ActiveState"), show("ExecMainStatus")), ("inactive".to_owned(), "0".to_owned()));
        assert_eq!(world.leftovers(), [""; 0]);
    }
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_is_started_by_what_comes_to_its_socket() {
    let (world, _) = crate::world();
    let said = world.write("said", "");
    let volume = format!("-d --init -v {}:/said", said);
    let _units = service(
        &world,
        &volume,
        "systemd-notify --ready; test $LISTEN_PID = $$$$ && read -r word <&3; echo \"$LISTEN_FDNAMES $word\" >/said; sleep 600",
    );
    let fifo = world.path("fifo");
    let socket = format!("[Socket]\nListenFIFO={}\nFileDescriptorName=words\n", fifo.display());
    fs::write(Path::new(UNITS).join(SOCKET), socket).unwrap();
    systemctl(&["daemon-reload"]);
    systemctl(&["start", SOCKET]);
    fs::write(&fifo, "hello\n").unwrap();
    eventually("the program was told", || fs::read_to_string(&said).unwrap() == "words hello\n");
    systemctl(&["stop", SOCKET, SERVICE]);
    assert_eq!(world.leftovers(), [""; 0]);
}

//! Descriptors and sockets that are handed on.

use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use super::{Guard, bundle, command, id, runtime, silently};
use crate::{through, world};

#[test]
fn preserved_descriptors_arrive_and_missing_ones_are_named() {
    let world = world();
    let dir = bundle(&world, "cat <&3; ls /proc/self/fd | wc -l", |_| ());
    let (file, id) = (world.write("text", "handed on\n"), id("fds"));
    let run = command(&world, &["run", "--preserve-fds", "1", "--bundle", dir.to_str().unwrap(), &id]);
    let script = format!("exec 3<{file}; exec \"$@\"");
    let mut run = through(&["sh", "-c", &script, "sh"], &run);
    let output = loment_testkit::run(&mut run, loment_testkit::Patience::NORMAL);
    // 0 to 3, and the directory that ls reads.
    assert_eq!(output.succeeds(), "handed on\n5");
    let output = runtime(&world, &["run", "--preserve-fds", "40", "--bundle", dir.to_str().unwrap(), &id]);
    output.fails_saying(1, &["preserved descriptor", "is not open"]);
}

#[test]
fn sockets_of_activation_are_handed_on() {
    let world = world();
    let dir = bundle(&world, "echo $LISTEN_FDS $LISTEN_PID; cat <&3", |_| ());
    let file = world.write("text", "socket\n");
    let run = command(&world, &["run", "--bundle", dir.to_str().unwrap(), &id("listen")]);
    // sd_listen_fds(3): they are meant for one process only.
    for (pid, expected) in [("$$", Some("1 1\nsocket")), ("1", None)] {
        let script = format!("exec 3<{file}; export LISTEN_FDS=1 LISTEN_PID={pid}; exec \"$@\"");
        let mut run = through(&["sh", "-c", &script, "sh"], &run);
        let output = loment_testkit::run(&mut run, loment_testkit::Patience::NORMAL);
        match expected {
            Some(text) => assert_eq!(output.succeeds(), text),
            None => assert!(!output.stdout.contains("socket"), "{output}"),
        }
    }
}

#[test]
fn readiness_is_told_to_the_service_manager() {
    let world = world();
    // socat and systemd-notify are not in the container; its shell cannot send datagrams.
    let dir = bundle(&world, "sleep 60", |c| {
        c["mounts"]
            .as_array_mut()
            .unwrap()
            .push(json!({"destination": "/run", "type": "tmpfs", "source": "tmpfs"}));
    });
    let manager = UnixDatagram::bind(world.path("manager.sock")).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let c = Guard::of(&world, "notify");
    let with_manager = |arguments: &[&str]| -> Command {
        let mut command = command(&world, arguments);
        command.env("NOTIFY_SOCKET", world.path("manager.sock"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
        command
    };
    let mut create = with_manager(&["create", "--bundle", dir.to_str().unwrap(), &c.id]);
    assert!(create.status().unwrap().success());
    let mut start = with_manager(&["start", &c.id]).spawn().unwrap();
    crate::eventually("it runs", || c.status() == "running");
    // Running is what the runtime says just before it becomes the program.
    crate::eventually("the program knows where to report to", || {
        let environment = std::fs::read(format!("/proc/{}/environ", c.pid())).unwrap();
        String::from_utf8_lossy(&environment).contains("NOTIFY_SOCKET=/run/notify/notify.sock")
    });
    let inside = format!("/proc/{}/root/run/notify/notify.sock", c.pid());
    let program = UnixDatagram::unbound().unwrap();
    program.send_to(b"STATUS=warming up", &inside).unwrap();
    program.send_to(b"READY=1\nSTATUS=fine", &inside).unwrap();
    let mut buffer = [0; 100];
    let mut next = || {
        let len = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..len]).into_owned()
    };
    assert_eq!(next(), "READY=1\n");
    assert_eq!(next(), format!("MAINPID={}\n", c.pid()));
    assert!(start.wait().unwrap().success());
}

#[test]
fn a_descriptor_of_the_process_is_sent_to_who_asks() {
    let world = world();
    let socket = world.path("pidfd.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let annotated = socket.clone();
    let dir = bundle(&world, "sleep 60", |c| c["annotations"] = json!({"run.oci.pidfd_receiver": annotated}));
    let c = Guard::create(&world, "pidfd", &dir);
    // Flag or annotation: once each.
    drop(listener.accept().unwrap());
    runtime(&world, &["start", &c.id]).succeeds();
    let arguments = ["exec", "-d", "--pidfd-socket", socket.to_str().unwrap(), &c.id, "/bin/sleep", "5"];
    let output = silently(&world, &arguments);
    assert_eq!(output.code, 0, "{output}");
    drop(listener.accept().unwrap());
}

#[test]
fn a_handler_that_is_not_there_is_refused_by_name() {
    let world = world();
    let dir = bundle(&world, "true", |c| c["annotations"] = json!({"run.oci.handler": "krun"}));
    let output = runtime(&world, &["run", "--bundle", dir.to_str().unwrap(), &id("handler")]);
    output.fails_saying(1, &["run.oci.handler", "\"krun\""]);
}

#[test]
fn a_stream_that_is_the_null_device_is_the_containers_own() {
    let world = world();
    // The mount that a file was opened through is one of the container's.
    let script = "for fd in 0 2; do id=$(sed -n 's/mnt_id:[[:space:]]*//p' /proc/1/fdinfo/$fd); \
                  grep -q \"^$id \" /proc/self/mountinfo && echo own; done; grep ^flags: /proc/1/fdinfo/2; echo gone >&2";
    let dir = bundle(&world, script, |_| ());
    let mut run = command(&world, &["run", "--bundle", dir.to_str().unwrap(), &id("null")]);
    let output = run.stdin(Stdio::null()).stderr(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let flags = said.strip_prefix("own\nown\nflags:\t").unwrap_or_else(|| panic!("{said}"));
    let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
    // O_RDWR, and not O_NONBLOCK.
    assert_eq!((flags & 0o3, flags & 0o4000), (2, 0), "{flags:o}");
    assert!(output.status.success());
}

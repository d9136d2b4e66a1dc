//! Flags that let something be saved which is not saved without being asked for.

use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};

use super::{COUNT, Case};
use crate::eventually;

/// Without the flag it is refused with these words, and goes on; with it, it is saved and goes on from there.
#[track_caller]
fn needs(c: &Case, flag: &str, words: &str) {
    c.counts_from(0);
    let images = c.path("refused");
    let refused = c.quietly(&mut c.ours(&["checkpoint", "--image-path", &images, &c.id]));
    refused.fails_saying(1, &["criu failed: checkpoint by ", words]);
    c.counts_from(c.count());
    c.save(&[flag]);
    c.is_gone();
    let saved = c.count();
    c.restore(&[flag]);
    c.counts_from(saved);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn locks_are_held_again() {
    let c = Case::new("locks");
    // busybox has no program that locks a file.
    let add_program = |config: &mut Value| {
        for (host, inside) in [("/usr", "/usr"), ("/usr/lib", "/lib"), ("/usr/lib64", "/lib64")] {
            let mount =
                json!({ "destination": inside, "type": "bind", "source": host, "options": ["bind", "ro"] });
            config["mounts"].as_array_mut().unwrap().push(mount);
        }
    };
    c.start(&c.bundle(&format!("exec 9>/out/lock; /usr/bin/flock 9; {COUNT}"), add_program));
    let locked = || {
        let file = File::open(c.world.path("out/lock")).unwrap();
        flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
    };
    eventually("it is locked", || c.world.path("out/lock").exists() && locked());
    needs(&c, "--file-locks", "file locks");
    assert!(locked());
    c.quietly_read(&["delete", "--force", &c.id]).succeeds();
    assert!(!locked());
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_file_that_has_lost_one_of_its_names_is_found_by_another() {
    let c = Case::new("remap");
    let lose = "exec 9>/out/first; ln /out/first /out/second; rm /out/first";
    c.start(&c.bundle(&format!("{lose}; {}", COUNT.replace("sleep", "echo $i >&9; sleep")), |_| {}));
    needs(&c, "--link-remap", "link-remap");
    let lines = fs::read_to_string(c.world.path("out/second")).unwrap();
    let numbers: Vec<u64> = lines.lines().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.last().unwrap() + 2 >= c.count(), "it writes to the same file");
    let names: Vec<_> = fs::read_dir(c.world.path("out")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| name == "count" || name == "second"), "{names:?}");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_socket_that_is_connected_to_one_outside_is_connected_again() {
    let c = Case::new("unix");
    let socket = c.path("out/log");
    let listener = UnixDatagram::bind(&socket).unwrap();
    listener.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // CRIU connects to the name that the socket has for the kernel.
    let talk = COUNT.replace("sleep", "echo tick; sleep");
    let script = format!("ln -s {socket} /dev/log; {talk} | logger");
    let dir = c.bundle(&script, |config| {
        let outside = c.path("out");
        let mount = json!({ "destination": outside, "type": "bind", "source": outside, "options": ["bind"] });
        config["mounts"].as_array_mut().unwrap().push(mount);
        // It knows of the sockets of one network namespace only.
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "network");
    });
    c.start(&dir);
    let ticks = || {
        let mut text = [0; 1000];
        let n = listener.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..n]).contains("tick")
    };
    assert!(ticks());
    needs(&c, "--ext-unix-sk", "--ext-unix-sk");
    listener.set_nonblocking(true).unwrap();
    while listener.recv(&mut [0; 1000]).is_ok() {}
    listener.set_nonblocking(false).unwrap();
    assert!(ticks());
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn connections_can_be_closed_instead() {
    for (flag, name) in [("--tcp-established", "kept"), ("--tcp-close", "left")] {
        let c = Case::new(name);
        let script = "sleep 1000 | nc -l -p 7777 >/dev/null & \
            sleep 0.5; { while :; do echo x; sleep 0.1; done | nc 127.0.0.1 7777; echo ended >/out/ended; } & ";
        c.start(&c.bundle(&format!("{script} {COUNT}"), |_| {}));
        c.counts_from(0);
        eventually("it is connected", || c.count() > 10);
        c.save(&[flag]);
        let saved = c.count();
        assert!(!c.world.path("out/ended").exists());
        c.restore(&["--tcp-close"]);
        c.counts_from(saved);
        eventually("the program sees the end of its connection", || c.world.path("out/ended").exists());
    }
}

//! Service managers: who tells them what of a container (sd_notify(3)), and what a hostile one cannot tell them.

use std::fs;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use loment_testkit::{Output, Patience, World, run};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};

use crate::{eventually, monitor_of, pid_of, world_with};

/// A service manager: a socket, and commands that are told of it.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn of(world: &World) -> Self {
        let path = world.path("manager.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { socket, path }
    }

    fn command(&self, world: &World, words: &[&str]) -> Command {
        let mut command = world.command(words);
        command.env("NOTIFY_SOCKET", &self.path);
        command
    }

    #[track_caller]
    fn loment(&self, world: &World, words: &[&str]) -> Output {
        run(&mut self.command(world, words), Patience::NORMAL)
    }

    /// The next message, and its descriptor.
    #[track_caller]
    fn next(&self) -> (String, Option<OwnedFd>) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut buffer = [0; 8192];
        let iov = &mut [std::io::IoSliceMut::new(&mut buffer)];
        let message = rustix::net::recvmsg(&self.socket, iov, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        let fds = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        let fds: Vec<OwnedFd> = fds.flatten().collect();
        assert!(fds.len() < 2);
        (String::from_utf8(buffer[..message.bytes].to_vec()).unwrap(), fds.into_iter().next())
    }

    #[track_caller]
    fn says(&self, message: &str) {
        let (said, fd) = self.next();
        assert!(said == message && fd.is_none(), "{said:?} instead of {message:?}, {fd:?}");
    }

    /// Nothing has been said.
    #[track_caller]
    fn is_silent(&self) {
        self.socket.set_nonblocking(true).unwrap();
        let said = self.socket.recv(&mut [0; 100]);
        assert!(said.is_err(), "{said:?}");
        self.socket.set_nonblocking(false).unwrap();
    }
}

/// A program of a container, from outside.
struct Program {
    socket: UnixDatagram,
    inside: String,
}

impl Program {
    fn of(world: &World, name: &str) -> Self {
        let inside = format!("/proc/{}/root/run/notify/notify.sock", pid_of(world, name));
        Self { socket: UnixDatagram::unbound().unwrap(), inside }
    }

    fn say(&self, message: &[u8]) {
        self.socket.send_to(message, &self.inside).unwrap();
    }

    fn say_with(&self, message: &[u8], fds: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
        let address = rustix::net::SocketAddrUnix::new(&self.inside).unwrap();
        let iov = &[IoSlice::new(message)];
        rustix::net::sendmsg_addr(&self.socket, &address, iov, &mut control, SendFlags::empty()).unwrap();
    }
}

fn started(manager: &Manager, world: &World, image: &str, flags: &[&str]) {
    let words =
        [&["run", "-d", "--network", "none", "--name", "c"], flags, &[image, "sleep", "600"]].concat();
    manager.loment(world, &words).succeeds();
}

fn remove(world: &World) {
    world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

fn modes(world: &World) -> String {
    world.inspect("{{.Config.SdNotifyMode}} {{.Config.SdNotifySocket}}", "c")
}

#[test]
fn a_program_says_itself_that_it_is_ready() {
    let (world, image) = world_with("busybox:latest");
    let manager = Manager::of(&world);
    started(&manager, &world, &image, &[]);
    manager.says(&format!("MAINPID={}", monitor_of(&world, "c")));
    assert_eq!(world.inspect("{{.State.ConmonPid}}", "c"), monitor_of(&world, "c").to_string());
    manager.is_silent();
    assert_eq!(modes(&world), format!("container {}", manager.path.display()));
    let environment = fs::read(format!("/proc/{}/environ", pid_of(&world, "c"))).unwrap();
    assert!(String::from_utf8_lossy(&environment).contains("NOTIFY_SOCKET=/run/notify/notify.sock\0"));
    // A socket for it alone: other programs in the container are not the service.
    world.loment(["exec", "c", "sh", "-c", "test -z \"$NOTIFY_SOCKET\""]).succeeds();
    let program = Program::of(&world, "c");
    program.say(b"STATUS=warming up");
    manager.says("STATUS=warming up");
    program.say(b"READY=1\nSTATUS=fine\nMAINPID=1\nEXTEND_TIMEOUT_USEC=5000000");
    manager.says("READY=1\nSTATUS=fine\nEXTEND_TIMEOUT_USEC=5000000");
    remove(&world);
}

#[test]
fn what_was_said_last_is_heard_and_what_is_started_again_speaks_again() {
    let (world, image) = world_with("busybox:latest");
    let manager = Manager::of(&world);
    let script = "until test -e /go; do sleep 0.05; done; rm /go; exit 3";
    let words = [
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "c",
        "--restart",
        "on-failure:1",
        &image,
        "sh",
        "-c",
        script,
    ];
    manager.loment(&world, &words).succeeds();
    let monitor = monitor_of(&world, "c");
    manager.says(&format!("MAINPID={monitor}"));
    let first = pid_of(&world, "c");
    let program = Program::of(&world, "c");
    // More than are handed on at once; it ends meanwhile.
    for n in 0..8 {
        program.say(format!("STATUS={n}").as_bytes());
    }
    world.loment(["exec", "c", "touch", "/go"]).succeeds();
    for n in 0..8 {
        manager.says(&format!("STATUS={n}"));
    }
    eventually("it runs again", || {
        let pid = pid_of(&world, "c");
        pid != 0 && pid != first
    });
    assert_eq!(monitor_of(&world, "c"), monitor);
    Program::of(&world, "c").say(b"READY=1");
    manager.says("READY=1");
    remove(&world);
}

#[test]
fn its_monitor_says_that_it_runs_or_is_healthy() {
    let (world, image) = world_with("busybox:latest");
    let manager = Manager::of(&world);
    started(&manager, &world, &image, &["--sdnotify", "conmon"]);
    manager.says(&format!("MAINPID={}", monitor_of(&world, "c")));
    manager.says("READY=1");
    assert_eq!(modes(&world), format!("conmon {}", manager.path.display()));
    world.loment(["exec", "c", "test", "-e", "/run/notify"]).fails(1);
    world.loment(["exec", "c", "sh", "-c", "test -z \"$NOTIFY_SOCKET\""]).succeeds();
    remove(&world);

    let none = world.loment(["create", "--network", "none", "--sdnotify=healthy", &image, "true"]);
    none.fails_saying(125, &["sdnotify policy", "healthy", "requires a healthcheck to be set"]);
    let check = ["--health-cmd", "test -e /well", "--health-interval", "disable", "--health-retries", "1"];
    let words = [
        &["create", "--network", "none", "--name", "c", "--sdnotify", "healthy"][..],
        &check,
        &[&image, "sleep", "600"],
    ];
    world.loment(words.concat()).succeeds();
    // Who starts it waits for that, too.
    let mut start =
        manager.command(&world, &["start", "c"]).stdout(std::process::Stdio::null()).spawn().unwrap();
    eventually("it runs", || world.inspect("{{.State.Status}}", "c") == "running");
    manager.says(&format!("MAINPID={}", monitor_of(&world, "c")));
    world.loment(["healthcheck", "run", "c"]).fails(1);
    manager.is_silent();
    assert!(start.try_wait().unwrap().is_none());
    world.loment(["exec", "c", "touch", "/well"]).succeeds();
    world.loment(["healthcheck", "run", "c"]).succeeds();
    manager.says("READY=1");
    assert!(start.wait().unwrap().success());
    world.loment(["healthcheck", "run", "c"]).succeeds();
    manager.is_silent();
    remove(&world);
}

#[test]
fn nobody_is_told_where_that_is_not_wanted_or_there_is_nobody() {
    let (world, image) = world_with("busybox:latest");
    let manager = Manager::of(&world);
    let ask = ["--network", "none", &image, "sh", "-c", "echo -n \"$NOTIFY_SOCKET\"; test ! -e /run/notify"];
    let ignored = manager.loment(&world, &[&["run", "--name", "c", "--sdnotify=ignore"], &ask[..]].concat());
    assert_eq!(ignored.succeeds(), "");
    manager.is_silent();
    assert_eq!(modes(&world), "ignore ");
    remove(&world);
    assert_eq!(world.loment([&["run", "--rm"], &ask[..]].concat()).succeeds(), "");
    world
        .loment(["create", "--sdnotify=bogus", &image])
        .fails_saying(125, &["invalid sdnotify value", "bogus", "healthy or ignore"]);
    // What cannot be told is said, and the container runs.
    let mut elsewhere =
        world.command(["run", "--rm", "--network", "none", "--sdnotify", "conmon", &image, "true"]);
    let output = run(elsewhere.env("NOTIFY_SOCKET", "/nowhere/socket"), Patience::NORMAL);
    output.succeeds();
    assert!(output.stderr.contains("/nowhere/socket"), "{output}");
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn a_barrier_ends_when_the_manager_has_read_what_came_before() {
    let (world, image) = world_with("busybox:latest");
    let manager = Manager::of(&world);
    started(&manager, &world, &image, &[]);
    manager.next();
    let program = Program::of(&world, "c");
    let (read, write) = rustix::pipe::pipe().unwrap();
    program.say(b"READY=1");
    program.say_with(b"BARRIER=1", &[write.as_fd()]);
    drop(write);
    program.say(b"STATUS=after");
    let is_over = || {
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(
            &mut [rustix::event::PollFd::new(&read, rustix::event::PollFlags::IN)],
            Some(&now),
        )
        .unwrap()
            > 0
    };
    manager.says("READY=1");
    let (said, fd) = manager.next();
    let fd = fd.expect("it carries a descriptor");
    assert_eq!(said, "BARRIER=1");
    // Not the container's, which could be anything.
    let of = |fd: &dyn Fn() -> rustix::fs::Stat| fd().st_ino;
    assert_ne!(of(&|| rustix::fs::fstat(&fd).unwrap()), of(&|| rustix::fs::fstat(&read).unwrap()));
    assert!(!is_over());
    manager.is_silent();
    drop(fd);
    eventually("it is over", is_over);
    manager.says("STATUS=after");
    remove(&world);
}

#[test]
fn a_hostile_container_neither_stops_its_monitor_nor_is_more_than_it_is() {
    let (world, image) = world_with("busybox:latest");
    let manager = Manager::of(&world);
    started(&manager, &world, &image, &[]);
    manager.next();
    let program = Program::of(&world, "c");
    let monitor = monitor_of(&world, "c");
    let open = || fs::read_dir(format!("/proc/{monitor}/fd")).unwrap().count();
    let before = open();
    let quiet: [&[u8]; 6] = [
        b"MAINPID=1",
        b"FDSTORE=1\nFDNAME=x",
        b"NOTIFYACCESS=all\nWATCHDOG_USEC=1",
        b"STATUS=\xff",
        b"",
        &[b"STATUS=".as_slice(), &[b'x'; 5000]].concat(),
    ];
    for message in quiet {
        program.say(message);
    }
    // Whoever closes this socket last waits for its data to be read, which nobody does.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let lingering = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (_other, _) = listener.accept().unwrap();
    rustix::net::sockopt::set_socket_linger(&lingering, Some(Duration::from_secs(600))).unwrap();
    lingering.set_nonblocking(true).unwrap();
    while std::io::Write::write(&mut &lingering, &[0; 65536]).is_ok() {}
    program.say_with(b"READY=1\nFDSTORE=1", &[lingering.as_fd()]);
    drop(lingering);
    let (said, fd) = manager.next();
    assert!(said == "READY=1" && fd.is_none(), "{said:?} {fd:?}");
    // The monitor does not wait for it.
    assert_eq!(world.loment(["exec", "c", "echo", "well"]).succeeds(), "well");
    eventually("nothing was kept", || open() <= before);
    remove(&world);

    // A manager that does not read, and a container that does not stop.
    started(&manager, &world, &image, &[]);
    manager.next();
    let program = Program::of(&world, "c");
    program.socket.set_nonblocking(true).unwrap();
    let mut said = 0;
    let mut is_full = || {
        let sent = program.socket.send_to(b"STATUS=again", &program.inside).is_ok();
        said += u32::from(sent);
        !sent
    };
    for _ in 0..400 {
        if is_full() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    assert_eq!(world.loment(["exec", "c", "echo", "well"]).succeeds(), "well");
    world.loment(["stop", "-t", "0", "c"]).succeeds();
    // What was taken is what can be read; the rest was the container's to wait for.
    manager.socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut heard = 0;
    while manager.socket.recv(&mut [0; 100]).is_ok() {
        heard += 1;
    }
    assert!(heard > 0 && heard <= said, "{heard} of {said}");
    remove(&world);
}

#[test]
fn the_monitor_ends_as_the_container_did_and_is_nobodys_child() {
    let (world, image) = world_with("busybox:latest");
    let manager = Manager::of(&world);
    // As a service manager: who has lost its parent is a child of this process.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    for (program, status) in [(&["sh", "-c", "exit 7"][..], 7), (&["/nothing"], 127)] {
        let words = [&["run", "--rm", "--network", "none", "--sdnotify", "conmon", &image], program].concat();
        assert_eq!(manager.loment(&world, &words).code, status);
        let (said, _) = manager.next();
        let pid = said.strip_prefix("MAINPID=").unwrap().parse().unwrap();
        let options = rustix::process::WaitOptions::empty();
        let (_, ended) =
            rustix::process::waitpid(rustix::process::Pid::from_raw(pid), options).unwrap().unwrap();
        assert_eq!(ended.exit_status(), Some(status));
        if status == 7 {
            manager.says("READY=1");
        }
    }
    assert_eq!(world.leftovers(), [""; 0]);
}

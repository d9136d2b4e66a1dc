//! Memory that is fetched from the saved container when the restored one needs it.

use std::fs;
use std::process::{Child, Command, Stdio};

use loment_testkit::skip;

use super::{COUNT, Case, kernel_has};
use crate::eventually;

/// A process that is ended whatever happens.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn memory_is_fetched_when_it_is_needed() {
    let c = Case::new("lazy");
    if !kernel_has("uffd-noncoop") {
        return skip("lazy pages", "this kernel does not let other processes fetch memory");
    }
    c.start(&c.bundle(COUNT, |_| {}));
    c.counts_from(0);
    let (images, work, ready) = (c.path("images"), c.path("lazy"), c.path("ready"));
    fs::create_dir(&work).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (server, port) = (format!("127.0.0.1:{port}"), port.to_string());
    let flags = ["--lazy-pages", "--page-server", &server, "--status-fd", "7"];
    let save = c.ours(&[&["checkpoint", "--image-path", &images], flags.as_slice(), &[&c.id]].concat());
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec 7>\"$0\"; exec \"$@\"", &ready]).arg(save.get_program()).args(save.get_args());
    let errors = fs::File::create(c.world.path("save-errors")).unwrap();
    let mut saving = Process(shell.stdin(Stdio::null()).stderr(errors).spawn().unwrap());
    eventually("memory can be fetched", || fs::read(&ready).is_ok_and(|said| said == [0]));
    let mut daemon = Command::new(super::other_criu().unwrap_or("criu".into()));
    daemon.args(["lazy-pages", "--page-server", "--address", "127.0.0.1", "--port", &port]);
    daemon.args(["--images-dir", &images, "--work-dir", &work, "--log-file", "lazy.log"]);
    let mut daemon =
        Process(daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    eventually("somebody fetches it", || fs::exists(c.world.path("lazy/lazy-pages.socket")).unwrap());
    let saved = c.count();
    let bundle = c.path("bundle");
    // As on another machine: the saved one is still there.
    let other = format!("{}-other", c.id);
    let root = c.path("other");
    let restore = ["--root", &root, "restore", "--detach", "--lazy-pages", "--image-path", &images];
    let output = c.quietly(
        &mut c.ours(&[&restore, ["--work-path", &work, "--bundle", &bundle, &other].as_slice()].concat()),
    );
    assert_eq!(output.code, 0, "{output}\n{}", c.logs());
    c.counts_from(saved);
    assert!(
        saving.0.wait().unwrap().success(),
        "{}",
        fs::read_to_string(c.world.path("save-errors")).unwrap()
    );
    assert!(daemon.0.wait().unwrap().success());
    c.quietly_read(&["--root", &root, "delete", "--force", &other]).succeeds();
}

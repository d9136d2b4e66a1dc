//! containers.conf and the files beside it: what they say holds where no flag says otherwise.

mod containers;
mod devices;
mod engine;
mod hooks;
mod layers;
mod storage;

use std::fmt::Write;

use loment_testkit::{Output, Patience, World, run};

use crate::engines::{Podman, prepared, which};

/// `run --rm FLAGS IMAGE sh -c SCRIPT` with a containers.conf of this text.
fn under(world: &World, conf: &str, flags: &[&str], image: &str, script: &str) -> Output {
    let conf = world.write("containers.conf", conf);
    let arguments = [&["run", "--rm"], flags, &[image, "sh", "-c", script]].concat();
    run(world.command(arguments).env("CONTAINERS_CONF", conf), Patience::NORMAL)
}

/// The same, which must succeed; what it prints.
#[track_caller]
fn says(world: &World, conf: &str, flags: &[&str], image: &str, script: &str) -> String {
    under(world, conf, flags, image, script).succeeds().to_owned()
}

/// Debian's Podman with the same file: containers are the same inside.
#[test]
fn containers_are_as_podman_makes_them() {
    let world = prepared();
    let runc = which("runc").to_str().unwrap().to_owned();
    let podman = Podman::new(&world, &runc, "podman");
    let rootfs = world.path("rootfs");
    let here = world.path("here");
    std::fs::create_dir(&here).unwrap();
    std::fs::write(here.join("file"), "of the host\n").unwrap();
    let mut conf = String::from("[containers]\n");
    for line in [
        "annotations = [\"a.b=c\"]",
        "default_capabilities = [\"CHOWN\", \"NET_RAW\"]",
        "default_sysctls = [\"net.ipv4.ip_forward=1\", \"kernel.shmmni=77\"]",
        "default_ulimits = [\"nofile=500:600\", \"nproc=300:300\", \"core=11:22\"]",
        "env = [\"FROM_FILE=yes\", \"OTHER=file\"]",
        "umask = \"0077\"",
        "tz = \"local\"",
        "devices = [\"/dev/zero:/dev/naught:rw\"]",
        "utsns = \"private\"",
        "ipcns = \"private\"",
    ] {
        writeln!(conf, "{line}").unwrap();
    }
    writeln!(conf, "volumes = [\"{}:/here:ro\"]", here.display()).unwrap();
    let path = world.write("both.conf", &conf);
    let script = "grep -E 'Cap(Bnd|Eff)' /proc/self/status; ulimit -n; ulimit -Hn; ulimit -u; ulimit -c; echo $FROM_FILE $OTHER; \
                  umask; cat /proc/sys/net/ipv4/ip_forward \
                  /proc/sys/kernel/shmmni; stat -c %t:%T /dev/naught; cat /here/file; touch /here/x 2>&1; \
                  head -c 4 /etc/localtime";
    let ours = {
        let head = ["run", "--rm", "--network", "none", "-e", "OTHER=flag", "--rootfs"];
        let arguments = [&head[..], &[rootfs.to_str().unwrap(), "sh", "-c", script]].concat();
        run(world.command(arguments).env("CONTAINERS_CONF", &path), Patience::NORMAL)
    };
    let theirs = podman.run_with(
        &[("CONTAINERS_CONF", &path)],
        &["run", "--rm", "--network", "none", "-e", "OTHER=flag", "image", "sh", "-c", script],
    );
    assert_eq!((ours.code, ours.stdout), (theirs.code, theirs.stdout), "{} {}", ours.stderr, theirs.stderr);
}

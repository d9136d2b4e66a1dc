//! Attacks on the file of the program that runs the container.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use loment_testkit::World;
use serde_json::json;

use super::{configure, over, runtime_run, write_script};
use crate::runtime::{Guard, bundle, runtime};
use crate::{sleeper, world, world_over_directory};

#[test]
fn cve_2019_5736_a_container_cannot_run_the_program_that_runs_it() {
    let (world, fs) = world_over_directory();
    let bundle = bundle(&world, "sleep 20", |_| ());
    for root in [Path::new(&fs), &bundle.join("rootfs")] {
        symlink("/proc/self/exe", root.join("self")).unwrap();
        write_script(&root.join("bang"), "#!/proc/self/exe\n");
    }
    sleeper(&world, "c", &["--rootfs"], &fs);
    runtime(&world, &["--version"]).succeeds();
    for program in ["/proc/self/exe", "/self", "/bang"] {
        for output in [
            over(&world, &[], &fs, &[program, "--version"]),
            world.loment(["exec", "c", program, "--version"]),
        ] {
            output.fails_saying(126, &[program]);
            assert_eq!(output.stdout, "", "{output}");
        }
        configure(&bundle, |c| c["process"]["args"] = json!([program, "--version"]));
        let output = runtime_run(&world, &bundle, "exe");
        assert_ne!(output.code, 0, "{output}");
        assert!(!output.stdout.contains(env!("CARGO_PKG_VERSION")), "loment itself ran inside: {output}");
    }
}

/// Looks for processes of another program than the container's own, keeps their program open, and writes to it when they
/// have ended (a program that runs cannot be written to).
const STEAL: &str = "i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); for p in /proc/[0-9]*; do
    { if ! [ /proc/self/fd/9 -ef /bin/busybox ]; then
    j=0; while [ $j -lt 100 ] && ! echo escaped >>/proc/self/fd/9; do j=$((j+1)); sleep 0.01; done; fi
    } 9<$p/exe; done; done 2>/dev/null";

#[test]
fn cve_2019_5736_a_container_cannot_change_the_program_that_joins_it() {
    let outer = world();
    // A copy that nothing else runs: the kernel lets nobody write to a file that is being run, and so a supervisor protects
    // its own, too.
    let binary = outer.path("loment");
    fs::copy(env!("CARGO_BIN_EXE_loment"), &binary).unwrap();
    let content = || fs::read(&binary).unwrap();
    let before = content();
    let world = World::new(&binary);
    // It may do everything that root may, tracing others included.
    let all =
        "CAP_SYS_PTRACE CAP_SYS_ADMIN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_KILL CAP_CHOWN CAP_FOWNER";
    let all: Vec<_> = all.split(' ').collect();
    let bundle = bundle(&world, STEAL, |config| {
        config["process"]["capabilities"] = json!({ "bounding": all, "effective": all, "permitted": all });
    });
    let c = Guard::start(&world, "steal", &bundle);
    for _ in 0..50 {
        runtime(&world, &["exec", &c.id, "/bin/true"]).succeeds();
        if content() != before {
            break;
        }
    }
    // What it has got hold of it may write to a moment later.
    std::thread::sleep(Duration::from_millis(200));
    assert!(content() == before, "the host's loment was changed");
}

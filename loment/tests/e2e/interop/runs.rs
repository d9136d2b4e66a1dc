//! What we push, Podman pulls and runs.

use loment_testkit::{Patience, busybox_rootfs, run};

use super::{Program, forget, registries, theirs};
use crate::engines::{LIMITS, command};
use crate::{fixtures, world};

#[test]
fn what_we_push_podman_pulls_and_runs() {
    let world = world();
    // One image that is made here, and one that is pulled.
    busybox_rootfs(&world.path("rootfs"));
    let mut pack = command(&world, "tar");
    run(pack.args(["-C", "rootfs", "-cf", "rootfs.tar", "."]), Patience::NORMAL).succeeds();
    let change =
        ["--change", "CMD [\"sh\", \"-c\", \"echo made on $HOSTNAME\"]", "--change", "ENV HOSTNAME=x"];
    world
        .loment([&["import", "--quiet"], &change[..], &["rootfs.tar", "localhost/made:1"]].concat())
        .succeeds();
    let source = fixtures().serve();
    let app = source.name("app:latest");
    world.loment(["pull", "--quiet", &app]).succeeds();
    let podman = |arguments: &[&str]| theirs(&world, Program::Podman, arguments);
    let forms = [
        &["--format", "oci"][..],
        &["--compression-format", "zstd", "--force-compression"],
        &["--format", "v2s2"],
    ];
    let registries = registries();
    for (registry, flags) in registries.iter().zip(forms) {
        for (image, name, says) in
            [("localhost/made:1", "made:1", "made on x"), (&app, "app:1", "entry first second")]
        {
            let id = world.inspect("{{.Id}}", image);
            let target = registry.name(name);
            let push = [&["push", "--quiet", "--digestfile", "digest"], flags, &[image, &target]];
            world.loment(push.concat()).succeeds();
            let digest = std::fs::read_to_string(world.path("digest")).unwrap();
            let pulled = podman(&["pull", "--quiet", "--tls-verify=false", &target]);
            assert_eq!(pulled.succeeds(), id, "{flags:?}");
            let known = podman(&["inspect", "--type", "image", "--format", "{{.Digest}}", &target]);
            assert_eq!(known.succeeds(), digest, "{flags:?}");
            let words = [&["run", "--rm", "--network", "none"][..], &LIMITS, &[&target]].concat();
            assert_eq!(podman(&words).succeeds(), says, "{flags:?}");
        }
        podman(&["rmi", "--all", "--force"]).succeeds();
    }
    forget(&world);
}

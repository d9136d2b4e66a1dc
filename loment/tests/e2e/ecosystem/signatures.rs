//! registries.d: where signatures are.

use super::configure;
use crate::{fixtures, world};

#[test]
fn a_copy_tells_of_signatures_that_it_leaves_behind() {
    let (world, registry) = (world(), fixtures().serve());
    let from = format!("docker://{}", registry.name("busybox:latest"));
    let to = format!("dir:{}", world.path("to").display());
    let copy = |more: &[&str]| {
        let output = world.loment([&["image", "copy", "--quiet"], more, &[&from, &to]].concat());
        assert_eq!(output.code, 0, "{output}");
        output.stderr
    };
    assert!(!copy(&[]).contains("ignatures"));
    let text = format!("docker:\n  {}:\n    lookaside: https://localhost/signatures\n", registry.host());
    configure(&world, "registries.d/here.yaml", &text);
    assert!(copy(&[]).contains(&format!("Signatures of {from}")), "{}", copy(&[]));
    assert!(!copy(&["--remove-signatures"]).contains("ignatures"));
    // Others are none of its business.
    configure(&world, "registries.d/here.yaml", "docker:\n  quay.io:\n    use-sigstore-attachments: true\n");
    assert!(!copy(&[]).contains("ignatures"));
    // A mistake keeps everybody from registries, as with Podman.
    let path =
        configure(&world, "registries.d/other.yaml", "docker:\n  quay.io:\n    lookaside: https://x\n");
    let words = [path.as_str(), "line 3", "\"quay.io\" is said twice, also in"];
    world.loment(["pull", "--quiet", &registry.name("busybox:latest")]).fails_saying(125, &words);
}

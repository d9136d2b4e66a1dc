//! Flags that are refused, or dropped, and say why.

use crate::world_with;

#[test]
fn flags_that_cannot_be_had_say_why() {
    let (world, image) = world_with("busybox:latest");
    for flag in ["ip", "ip6", "mac-address", "network-alias", "net-alias", "link", "link-local-ip"] {
        let flag = format!("--{flag}");
        // With the value in the same word, and in the next.
        for words in [&[flag.as_str(), "x"][..], &[&format!("{flag}=x")]] {
            let words = [&["run", "--rm", "--network", "none"], words, &[&image, "true"]].concat();
            world.loment(words).fails_saying(125, &["networks other than none and host are not there yet"]);
        }
    }
}

#[test]
fn ports_are_dropped_where_there_is_nobody_to_publish_them() {
    let (world, image) = world_with("busybox:latest");
    for network in ["none", "host"] {
        let output =
            world.loment(["run", "--rm", "--network", network, "-p", "80:80", "-P", &image, "echo", "ran"]);
        assert_eq!(output.succeeds(), "ran");
        assert!(output.stderr.contains("Port mappings have been discarded"), "{output}");
    }
    let silent = world.loment(["run", "--rm", "--network", "none", "-P=false", &image, "echo", "ran"]);
    assert_eq!((silent.succeeds(), silent.stderr.as_str()), ("ran", ""));
    world
        .loment(["run", "--rm", "-p", "80:80", &image, "true"])
        .fails_saying(125, &["--publish", "--network host"]);
}

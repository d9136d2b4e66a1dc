//! Flags that are refused, or dropped, and say why.

use crate::world_with;

const NO_NETWORK: &str = "networks other than none and host are not there yet";
const WINDOWS: &str = "is for Windows hosts";

#[test]
fn flags_that_cannot_be_had_say_why() {
    let (world, image) = world_with("busybox:latest");
    let refused = |words: &[&str], why: &str| {
        let words = [&["run", "--rm", "--network", "none"], words, &[&image, "true"]].concat();
        world.loment(words).fails_saying(125, &[why]);
    };
    for (flag, why) in [
        ("ip", NO_NETWORK),
        ("ip6", NO_NETWORK),
        ("mac-address", NO_NETWORK),
        ("network-alias", NO_NETWORK),
        ("net-alias", NO_NETWORK),
        ("link", NO_NETWORK),
        ("link-local-ip", NO_NETWORK),
        ("decryption-key", "encrypted images"),
        ("cpu-count", WINDOWS),
        ("cpu-percent", WINDOWS),
        ("io-maxbandwidth", WINDOWS),
        ("io-maxiops", WINDOWS),
    ] {
        // With the value in the next word, and in the same.
        refused(&[&format!("--{flag}"), "x"], why);
        refused(&[&format!("--{flag}=x")], why);
    }
    refused(&["--use-api-socket"], "the API");
    world.loment(["run", "--rm", "--network", "none", "--use-api-socket=false", &image, "true"]).succeeds();
    refused(&["--runtime", "kata"], "executes no other runtime");
    refused(&["--runtime", "/usr/bin/crun"], "executes no other runtime");
    refused(&["--isolation", "hyperv"], WINDOWS);
    refused(&["--isolation", "vm"], "not there yet");
    refused(&["--isolation", "x"], "isolation");
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

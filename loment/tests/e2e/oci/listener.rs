//! SCMP_ACT_NOTIFY: an agent outside answers for the kernel.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};

use loment_testkit::World;
use serde_json::{Value, json};

use super::{assert_gone, run};
use crate::runtime::{Guard, bundle, id, runtime};
use crate::{eventually, world};

pub(super) struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) fn agent(world: &World) -> (Agent, PathBuf, PathBuf) {
    let (program, socket, state) = (world.path("agent"), world.path("agent.sock"), world.path("agent.json"));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/oci/agent.c");
    let compiled = Command::new("gcc").args(["-O1", "-o"]).arg(&program).arg(source).status().unwrap();
    assert!(compiled.success());
    let agent = Agent(Command::new(&program).arg(&socket).arg(&state).spawn().unwrap());
    eventually("the agent listens", || socket.exists());
    (agent, socket, state)
}

/// Asks about calls that the runtime itself makes once the filter is loaded, too.
fn asking(config: &mut Value, socket: &str) {
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": socket,
        "listenerMetadata": "for the agent",
        "syscalls": [{ "names": ["mkdir", "mkdirat", "prctl", "chdir", "read", "close"], "action": "SCMP_ACT_NOTIFY" }],
    });
}

#[test]
fn an_agent_answers_for_the_kernel() {
    let world = world();
    let (_agent, socket, state) = agent(&world);
    let output =
        run(&world, "asks", "mkdir /made; echo $?", |config| asking(config, socket.to_str().unwrap()));
    assert_eq!(output.succeeds(), "1");
    assert!(output.stderr.to_lowercase().contains("cross-device link"), "EXDEV is the agent's: {output}");
    let state: Value = serde_json::from_slice(&fs::read(state).unwrap()).unwrap();
    assert_eq!((&state["fds"], &state["metadata"]), (&json!(["seccompFd"]), &json!("for the agent")));
    assert_eq!((&state["state"]["status"], &state["pid"]), (&json!("creating"), &state["state"]["pid"]));
}

#[test]
fn an_agent_hears_of_the_filter_at_creation() {
    let world = world();
    let dir =
        bundle(&world, "sleep 1000", |config| asking(config, world.path("agent.sock").to_str().unwrap()));
    let create = ["create", "--bundle", dir.to_str().unwrap(), &id("early")];
    runtime(&world, &create).fails_saying(1, &["agent.sock", "No such file"]);
    let (_agent, _socket, state) = agent(&world);
    let c = Guard::create(&world, "early", &dir);
    let state: Value = serde_json::from_slice(&fs::read(state).unwrap()).unwrap();
    assert_eq!((&state["state"]["status"], &state["pid"]), (&json!("creating"), &json!(c.pid())));
    runtime(&world, &["start", &c.id]).succeeds();
    assert_eq!(c.status(), "running");
}

#[test]
fn without_an_agent_no_program_runs() {
    let world = world();
    let socket = world.path("nobody.sock");
    let output = run(&world, "alone", "echo never", |config| asking(config, socket.to_str().unwrap()));
    assert_ne!(output.code, 0);
    assert!(output.stderr.contains("nobody.sock"), "{output}");
    assert_eq!(output.stdout, "");
    assert_gone(&world, "alone");
    let world = crate::world();
    let output = run(&world, "alone", "echo never", |config| {
        asking(config, "");
        config["linux"]["seccomp"].as_object_mut().unwrap().remove("listenerPath");
    });
    assert!(output.code != 0 && output.stderr.contains("listenerPath"), "{output}");
}

//! Events of Podman and of ours, of the same commands.

use loment_testkit::Output;
use serde_json::Value;

use super::{LIMITS, Podman, prepared, runtimes};

/// A line without what differs between two runs: time and ids.
fn shape(line: &str) -> String {
    let words = line.split(' ').map(|word| match word {
        id if id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()) => "ID",
        fraction if fraction.starts_with(|c: char| c.is_ascii_digit()) => "TIME",
        word => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

/// What is told of a container's life and of names of images, as text and as documents.
fn tell(run: &dyn Fn(&[&str]) -> Output) -> (Vec<String>, Vec<Value>) {
    let create = [&["create", "--name", "c", "--label", "x=y", "--network", "none"], &LIMITS[..]].concat();
    run(&[&create[..], &["localhost/image", "sh", "-c", "exit 3"]].concat()).succeeds();
    run(&["start", "--attach", "c"]);
    run(&["rm", "c"]).succeeds();
    run(&["tag", "localhost/image", "localhost/other:1"]).succeeds();
    run(&["untag", "localhost/other:1", "localhost/other:1"]).succeeds();
    let wanted = ["create", "init", "start", "died", "cleanup", "remove", "tag", "untag"];
    let filters: Vec<String> = wanted.map(|word| format!("event={word}")).to_vec();
    let events = |more: &[&str]| {
        let mut arguments = vec!["events", "--stream=false", "--since", "1h"];
        filters.iter().for_each(|filter| arguments.extend(["--filter", filter]));
        arguments.extend(more);
        run(&arguments).succeeds().to_owned()
    };
    let text = events(&[]).lines().map(shape).collect();
    let json = events(&["--format", "json"]);
    (text, json.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[test]
fn events_are_told_as_podman_tells_them() {
    let world = prepared();
    let podman = Podman::new(&world, &runtimes(&world)[1], "podman");
    podman.run(&["tag", "image", "localhost/image"]);
    let theirs = tell(&|arguments| podman.run(arguments));
    let tar = world.path("image.tar").display().to_string();
    world.loment(["import", "--quiet", &tar, "localhost/image"]).succeeds();
    let ours = tell(&|arguments| world.persona("podman", arguments));
    // Podman imports by giving a name; and it may clean up twice.
    let own = |lines: &[String]| {
        let ours = |line: &&String| line.contains(" container ") || line.ends_with("localhost/other:1");
        let mut lines: Vec<_> = lines.iter().filter(ours).cloned().collect();
        lines.dedup();
        lines
    };
    assert_eq!(own(&ours.0), own(&theirs.0));
    // Podman 6 has no `Time`, and says how a program ended.
    let of = |events: &[Value], status: &str| {
        let event =
            events.iter().find(|event| event["Status"] == status).unwrap().as_object().unwrap().clone();
        let mut event: Vec<_> = event.into_iter().filter(|(key, _)| key != "ID").collect();
        event.retain(|(key, _)| !["Time", "time", "timeNano", "ContainerExitCode"].contains(&key.as_str()));
        event
    };
    for status in ["create", "init", "start", "died", "remove", "untag"] {
        assert_eq!(of(&ours.1, status), of(&theirs.1, status), "{status}");
    }
}

//! Health checks: by themselves and by hand, and what is done about a container that fails them.

use loment_testkit::{Compression, Config, Entry, Image, Layer, Layout, World};
use serde_json::json;

use crate::{eventually, world, world_with};

/// A container that sleeps and is checked.
fn checked(world: &World, image: &str, flags: &[&str]) {
    let words =
        [&["run", "-d", "--network", "none", "--name", "c"], flags, &[image, "sleep", "600"]].concat();
    world.loment(words).succeeds();
}

fn health(world: &World) -> String {
    world.inspect("{{.State.Health.Status}} {{.State.Health.FailingStreak}}", "c")
}

fn clean(world: &World) {
    world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn a_container_is_healthy_until_checks_in_a_row_fail_and_again_when_one_succeeds() {
    let (world, image) = world_with("busybox:latest");
    let flags =
        ["--health-cmd", "echo seen; test ! -e /ill", "--health-interval", "100ms", "--health-retries", "2"];
    checked(&world, &image, &flags);
    eventually("it is healthy", || health(&world) == "healthy 0");
    world.loment(["exec", "c", "touch", "/ill"]).succeeds();
    eventually("it is unhealthy", || health(&world).starts_with("unhealthy "));
    assert!(world.loment(["ps"]).succeeds().contains(" (unhealthy)"));
    let of =
        |health: &str| world.loment(["ps", "-q", "--filter", &format!("health={health}")]).succeeds().len();
    assert_eq!((of("unhealthy"), of("healthy"), of("none")), (12, 0, 0));
    let log: serde_json::Value =
        serde_json::from_str(&world.inspect("{{json .State.Health.Log}}", "c")).unwrap();
    let last = log.as_array().unwrap().last().unwrap();
    assert_eq!((last["ExitCode"].as_i64(), last["Output"].as_str()), (Some(1), Some("seen\n")));
    assert!(log.as_array().unwrap().len() <= 5);
    world.loment(["exec", "c", "rm", "/ill"]).succeeds();
    eventually("it is healthy again", || health(&world) == "healthy 0");
    let events = world.loment([
        "events",
        "--since",
        "1h",
        "--until",
        "0s",
        "--filter",
        "event=health_status",
        "--format",
        "{{.HealthStatus}}",
    ]);
    assert_eq!(events.succeeds(), "healthy\nunhealthy\nhealthy");
    // What is known stays when it has ended.
    world.loment(["stop", "-t", "0", "c"]).succeeds();
    assert_eq!(health(&world), "healthy 0");
    clean(&world);
}

#[test]
fn a_check_is_run_by_hand_and_tells_what_it_found() {
    let (world, image) = world_with("busybox:latest");
    let flags = [
        "--health-cmd",
        r#"["test", "-e", "/well"]"#,
        "--health-interval",
        "disable",
        "--health-retries",
        "1",
    ];
    checked(&world, &image, &flags);
    let asked = world.loment(["healthcheck", "run", "c"]);
    assert_eq!((asked.code, asked.stdout.as_str()), (1, "unhealthy\n"), "{asked}");
    assert_eq!(world.loment(["healthcheck", "run", "--ignore-result", "c"]).succeeds(), "unhealthy");
    world.loment(["exec", "c", "touch", "/well"]).succeeds();
    assert_eq!(world.loment(["healthcheck", "run", "c"]).succeeds(), "");
    assert_eq!(health(&world), "healthy 0");
    assert_eq!(world.inspect("{{json .Config.Healthcheck.Test}}", "c"), r#"["CMD","test","-e","/well"]"#);
    world.loment(["stop", "-t", "0", "c"]).succeeds();
    assert!(world.loment(["healthcheck", "run", "c"]).fails(125).contains("exited"));
    world.loment(["rm", "c"]).succeeds();
    checked(&world, &image, &[]);
    assert!(world.loment(["healthcheck", "run", "c"]).fails(125).contains("--health-cmd"));
    clean(&world);
}

#[test]
fn a_check_that_takes_too_long_or_cannot_start_is_a_failure() {
    let (world, image) = world_with("busybox:latest");
    let flags = [
        "--health-cmd",
        "sleep 600",
        "--health-interval",
        "100ms",
        "--health-timeout",
        "200ms",
        "--health-retries",
        "1",
    ];
    checked(&world, &image, &flags);
    eventually("it is unhealthy", || health(&world).starts_with("unhealthy "));
    assert!(world.inspect("{{json .State.Health.Log}}", "c").contains("exceeded timeout"));
    world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    checked(
        &world,
        &image,
        &["--health-cmd", r#"["/nothing"]"#, "--health-interval", "100ms", "--health-retries", "1"],
    );
    eventually("it is unhealthy", || health(&world).starts_with("unhealthy "));
    assert!(world.inspect("{{json .State.Health.Log}}", "c").contains("/nothing"));
    clean(&world);
}

#[test]
fn a_check_that_ends_a_container_waits_for_its_end() {
    let (world, image) = world_with("busybox:latest");
    for action in ["kill", "stop"] {
        let flags = ["--health-cmd", "exit 1", "--health-interval", "disable", "--health-retries", "1"];
        let more = ["--stop-timeout", "1", "--health-on-failure", action];
        let program = [image.as_str(), "sleep", "1000"];
        let run = ["run", "--detach", "--network", "none", "--name", "c"];
        world.loment([&run[..], &flags, &more, &program].concat()).succeeds();
        world.loment(["healthcheck", "run", "c"]).fails(1);
        assert_eq!(world.inspect("{{.State.Status}}", "c"), "exited", "{action}");
        world.loment(["rm", "c"]).succeeds();
    }
}

#[test]
fn an_unhealthy_container_is_killed_stopped_or_started_again_if_so_asked() {
    let (world, image) = world_with("busybox:latest");
    let check = [
        "--health-cmd",
        "exit 1",
        "--health-interval",
        "100ms",
        "--health-retries",
        "2",
        "--stop-timeout",
        "0",
    ];
    for (action, exit) in [("kill", "137"), ("stop", "137")] {
        checked(&world, &image, &[&check[..], &["--health-on-failure", action]].concat());
        eventually("it has ended", || {
            world.inspect("{{.State.Status}} {{.State.ExitCode}}", "c") == format!("exited {exit}")
        });
        world.loment(["rm", "c"]).succeeds();
    }
    checked(&world, &image, &[&check[..], &["--health-on-failure", "restart"]].concat());
    eventually("it was started again", || {
        world.inspect("{{.RestartCount}}", "c").parse::<u32>().unwrap() > 1
    });
    let refused = [
        &["create", "--restart", "always", "--health-on-failure", "restart", "--health-cmd", "x"],
        &[image.as_str(), "true"][..],
    ]
    .concat();
    assert!(world.loment(refused).fails(125).contains("--restart"));
    clean(&world);
}

#[test]
fn failures_in_the_start_period_do_not_count() {
    let (world, image) = world_with("busybox:latest");
    let flags = [
        "--health-cmd",
        "test -e /well",
        "--health-interval",
        "1h",
        "--health-start-period",
        "1h",
        "--health-start-interval",
        "100ms",
        "--health-retries",
        "1",
    ];
    checked(&world, &image, &flags);
    eventually("it was checked often", || world.inspect("{{len .State.Health.Log}}", "c") == "5");
    assert_eq!(health(&world), "starting 0");
    world.loment(["exec", "c", "touch", "/well"]).succeeds();
    eventually("it is healthy", || health(&world) == "healthy 0");
    clean(&world);
}

#[test]
fn checks_begin_when_the_start_up_check_has_succeeded() {
    let (world, image) = world_with("busybox:latest");
    let flags = [
        "--health-cmd",
        "echo >>/checked",
        "--health-interval",
        "100ms",
        "--health-startup-cmd",
        "test -e /up",
        "--health-startup-interval",
        "100ms",
        "--health-startup-success",
        "2",
    ];
    checked(&world, &image, &flags);
    eventually("the start was checked", || world.inspect("{{len .State.Health.Log}}", "c") == "5");
    world.loment(["exec", "c", "test", "-e", "/checked"]).fails(1);
    world.loment(["exec", "c", "touch", "/up"]).succeeds();
    eventually("it is healthy", || health(&world) == "healthy 0");
    world.loment(["exec", "c", "test", "-e", "/checked"]).succeeds();
    world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    let flags = [
        "--health-cmd",
        "true",
        "--health-startup-cmd",
        "false",
        "--health-startup-interval",
        "50ms",
        "--health-startup-retries",
        "2",
    ];
    checked(&world, &image, &[&flags[..], &["--stop-timeout", "0"]].concat());
    eventually("it was started again", || world.inspect("{{.RestartCount}}", "c") != "0");
    clean(&world);
}

#[test]
fn the_image_says_how_it_is_checked_and_the_user_may_forbid_it() {
    let world = world();
    let check = json!({ "Test": ["CMD", "true"], "Interval": 7_000_000_000u64, "Retries": 9 });
    let config = Config::shell().set("Healthcheck", check);
    let mut layout = Layout::create(&world.path("layout"));
    let layer = Layer::of([Entry::dir("bin"), Entry::file("bin/x", "x")]).into();
    layout.add("checked", &Image::new(config, [layer]), Compression::Gzip);
    let from = format!("oci:{}:checked", layout.dir().display());
    let image = world.loment(["pull", "--quiet", &from]).succeeds().to_owned();
    world.loment(["create", "--network", "none", "--name", "c", &image, "x"]).succeeds();
    let shown = world.inspect("{{.Config.Healthcheck.Interval}} {{.Config.Healthcheck.Retries}}", "c");
    assert_eq!(shown, "7s 9");
    world.loment(["rm", "c"]).succeeds();
    world.loment(["create", "--network", "none", "--name", "c", "--no-healthcheck", &image, "x"]).succeeds();
    assert_eq!(world.inspect("{{json .Config.Healthcheck}}", "c"), r#"{"Test":["NONE"]}"#);
    clean(&world);
}

#[test]
fn a_paused_container_is_not_checked() {
    let (world, image) = world_with("busybox:latest");
    checked(
        &world,
        &image,
        &[
            "--health-cmd",
            "true",
            "--health-interval",
            "100ms",
            "--health-timeout",
            "300ms",
            "--health-retries",
            "1",
        ],
    );
    eventually("it is healthy", || health(&world) == "healthy 0");
    world.loment(["pause", "c"]).succeeds();
    std::thread::sleep(std::time::Duration::from_millis(900));
    assert_eq!(health(&world), "healthy 0");
    world.loment(["unpause", "c"]).succeeds();
    clean(&world);
}

#[test]
fn results_are_kept_where_the_user_wants_them() {
    let (world, image) = world_with("busybox:latest");
    let dir = world.path("results");
    std::fs::create_dir(&dir).unwrap();
    let to = dir.display().to_string();
    checked(
        &world,
        &image,
        &[
            "--health-cmd",
            "echo 0123456789",
            "--health-interval",
            "100ms",
            "--health-log-destination",
            &to,
            "--health-max-log-count",
            "2",
            "--health-max-log-size",
            "4",
        ],
    );
    let id = world.inspect("{{.Id}}", "c");
    let read = || std::fs::read_to_string(dir.join(format!("{id}-healthcheck.log"))).unwrap_or_default();
    eventually("there are two results", || read().matches("ExitCode").count() == 2);
    assert!(read().contains("\"0123\""), "{}", read());
    assert!(
        world
            .loment(["create", "--health-cmd", "x", "--health-log-destination", "/nowhere", &image])
            .fails(125)
            .contains("/nowhere")
    );
    clean(&world);
}

#[test]
fn what_is_said_of_checks_is_shown_as_it_was_said() {
    let (world, image) = world_with("busybox:latest");
    let words = ["create", "--network", "none", "--health-on-failure", "kill", &image, "true"];
    let refused = world.loment(words);
    assert_eq!(refused.fails(125), "Error: cannot set on-failure action to kill without a health check");
    let times =
        ["--health-interval", "38s", "--health-startup-timeout", "90s", "--health-max-log-count", "7"];
    let checks = ["--health-cmd", "true", "--health-startup-cmd", "echo up"];
    checked(&world, &image, &[&times[..], &checks].concat());
    let of_checks = "{{.Config.Healthcheck.Interval}} {{json .Config.Healthcheck.Interval}}\\n\
        {{.Config.StartupHealthCheck.Test}} {{.Config.StartupHealthCheck.Timeout}} {{.Config.HealthMaxLogCount}}";
    let shown = "38s 38000000000\n[CMD-SHELL echo up] 1m30s 7";
    assert_eq!(world.inspect(of_checks, "c"), shown);
    assert_eq!(world.inspect("{{.State.Healthcheck.FailingStreak}}", "c"), "0");
    world.loment(["rm", "--force", "--time", "0", "c"]).succeeds();
    checked(&world, &image, &["--health-cmd", "false", "--health-interval", "disable"]);
    let first = world.loment(["healthcheck", "run", "c"]);
    assert_eq!((first.code, first.stdout.as_str()), (1, "unhealthy\n"), "it counts: {first}");
    assert_eq!(health(&world), "starting 1");
    world.loment(["update", "--no-healthcheck", "c"]).succeeds();
    assert_eq!(
        world.inspect("{{.Config.Healthcheck.Test}} {{.Config.StartupHealthCheck}}", "c"),
        "[NONE] <nil>"
    );
    world
        .loment(["update", "--health-retries", "3", "c"])
        .fails_saying(125, &["healthcheck command is not set"]);
    clean(&world);
}

#[test]
fn a_container_that_ends_while_it_is_checked_is_neither_well_nor_ill() {
    let (world, image) = world_with("busybox:latest");
    checked(&world, &image, &["--health-cmd", "touch /begun; sleep 600", "--health-interval", "disable"]);
    let mut asked = world.command(["healthcheck", "run", "c"]);
    let asked = asked.stdout(std::process::Stdio::piped()).spawn().unwrap();
    eventually("it is checked", || world.loment(["exec", "c", "test", "-e", "/begun"]).code == 0);
    world.loment(["stop", "-t", "0", "c"]).succeeds();
    let asked = asked.wait_with_output().unwrap();
    assert_eq!((asked.status.code(), asked.stdout.as_slice()), (Some(1), &b"stopped\n"[..]));
    assert_eq!(health(&world), "stopped 0");
    clean(&world);
}

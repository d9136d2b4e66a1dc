//! Where what a container writes goes, by `--log-driver` and `--log-opt`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use loment_testkit::{Output, Patience, World, run};

use crate::{eventually, world_over_directory};

/// Runs a script in a container with these flags.
fn container(world: &World, fs: &str, flags: &[&str], script: &str) -> Output {
    let head = ["run", "--network", "none"];
    world.loment([&head, flags, &["--rootfs", fs, "sh", "-c", script]].concat())
}

/// Runs a script of the shell in which `"$@"` is this program with its roots.
fn through_shell(world: &World, script: &str) -> Output {
    let command = world.command::<&str>([]);
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(command.get_program()).args(command.get_args());
    shell.current_dir(world.dir().join("work"));
    shell.env_clear().envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
    run(&mut shell, Patience::NORMAL)
}

fn log_file(world: &World, name: &str) -> PathBuf {
    world.inspect("{{.LogPath}}", name).into()
}

#[test]
fn json_file_is_dockers_format() {
    let (world, fs) = world_over_directory();
    let script = "echo 'a \"quote\" & <b>'; echo err >&2; printf 'no end'";
    let flags = ["--name", "c", "--log-driver", "json-file", "--label", "tier=front", "-e", "A=1"];
    let options = ["--log-opt", "labels=tier,absent", "--log-opt", "env=A", "--log-opt", "tag={{.Name}}"];
    container(&world, &fs, &[&flags[..], &options].concat(), script).succeeds();
    let text = fs::read_to_string(log_file(&world, "c")).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let shown = |stream: &str| -> Vec<&str> {
        lines.iter().filter(|l| l["stream"] == stream).map(|l| l["log"].as_str().unwrap()).collect()
    };
    assert_eq!(shown("stdout"), ["a \"quote\" & <b>\n", "no end"]);
    assert_eq!(shown("stderr"), ["err\n"]);
    let attributes = serde_json::json!({"tier": "front", "A": "1", "tag": "c"});
    assert!(lines.iter().all(|l| l["attrs"] == attributes && l["time"].as_str().unwrap().ends_with('Z')));
    let output = world.loment(["logs", "c"]);
    assert_eq!((output.succeeds(), output.stderr.as_str()), ("a \"quote\" & <b>\nno end", "err\n"));
    assert_eq!(world.inspect("{{.HostConfig.LogConfig.Type}}", "c"), "json-file");
    // Under the name of Docker, which has no other default.
    let head = ["run", "--network", "none", "--name", "d", "--log-opt", "max-size=10m"];
    world.persona("docker", [&head[..], &["--rootfs", &fs, "echo", "hello"]].concat()).succeeds();
    assert!(fs::read_to_string(log_file(&world, "d")).unwrap().starts_with("{\"log\":\"hello\\n\","));
    let config = world.persona("docker", ["inspect", "-f", "{{json .HostConfig.LogConfig}}", "d"]);
    let config: serde_json::Value = serde_json::from_str(config.succeeds()).unwrap();
    assert_eq!((&config["Type"], &config["Config"]["max-size"]), (&"json-file".into(), &"10m".into()));
}

#[test]
fn older_files_are_compressed() {
    let (world, fs) = world_over_directory();
    let options = ["max-size=20k", "max-file=5", "compress=true"].map(|o| ["--log-opt", o]).concat();
    let flags = [&["-d", "--name", "c"][..], &options].concat();
    container(
        &world,
        &fs,
        &flags,
        "for i in $(seq 20); do seq $((i * 100 + 1)) $((i * 100 + 100)); sleep 0.02; done; sleep 300",
    )
    .succeeds();
    eventually("all is logged", || world.loment(["logs", "--tail", "1", "c"]).stdout == "2100\n");
    let log = log_file(&world, "c");
    let dir = log.parent().unwrap();
    let packed = |n: u32| dir.join(format!("ctr.log.{n}.gz"));
    eventually("what is complete is compressed", || {
        (1..=4).all(|n| packed(n).exists() && !dir.join(format!("ctr.log.{n}")).exists())
    });
    // As anybody can see.
    let seen = run(Command::new("zcat").arg(packed(4)), Patience::NORMAL);
    let first: u32 = seen.succeeds().lines().next().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    let shown = world.loment(["logs", "c"]);
    let numbers: Vec<u32> = shown.succeeds().lines().map(|l| l.parse().unwrap()).collect();
    assert_eq!((numbers[0], numbers.last()), (first, Some(&2100)));
    assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1), "lines are missing in between");
    let tail = world.loment(["logs", "--tail", "1500", "c"]);
    assert_eq!(tail.succeeds().lines().next(), Some("601"));
    world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
}

#[test]
fn a_log_is_where_it_was_asked_for_and_stays() {
    let (world, fs) = world_over_directory();
    let path = world.dir().join("work").join("my.log");
    let flags = ["--rm", "--log-opt", "path=my.log", "--log-opt", "max-size=1m"];
    let output = {
        let head = ["run", "--network", "none"];
        world.loment([&head[..], &flags, &["--rootfs", &fs, "echo", "kept"]].concat())
    };
    output.succeeds();
    assert!(fs::read_to_string(path).unwrap().ends_with(" stdout F kept\n"));
}

#[test]
fn options_that_are_not_known_are_refused_by_name() {
    let (world, fs) = world_over_directory();
    for (flags, said) in [
        (
            &["--log-driver", "syslog"][..],
            "log driver \"syslog\" is not supported: use k8s-file, json-file, journald",
        ),
        (
            &["--log-opt", "nope=1"],
            "unknown log option \"nope\" for the log driver k8s-file: use path, max-size",
        ),
        (
            &["--log-driver", "none", "--log-opt", "max-size=1m"],
            "\"max-size\" is not for the log driver none",
        ),
        (
            &["--log-driver", "journald", "--log-opt", "path=/x"],
            "\"path\" is not for the log driver journald",
        ),
        (&["--log-opt", "tag={{.Nope}}"], "use .ID, .FullID, .Name"),
        (&["--log-opt", "labels-regex=("], "invalid regular expression"),
        (&["--log-driver", "passthrough", "-t"], "--tty cannot be used with the log driver passthrough"),
    ] {
        container(&world, &fs, flags, "true").fails_saying(125, &[said]);
    }
    assert_eq!(world.loment(["ps", "-aq"]).succeeds(), "");
}

#[test]
fn what_keeps_no_log_says_so() {
    let (world, fs) = world_over_directory();
    for driver in ["none", "passthrough"] {
        container(&world, &fs, &["--name", driver, "--log-driver", driver], "echo seen").succeeds();
        let said = format!(
            "this container is using the '{driver}' log driver, cannot read logs: this container is not logging output"
        );
        world.loment(["logs", driver]).fails_saying(125, &[&said]);
        assert_eq!(world.inspect("{{.LogPath}}", driver), "");
    }
}

#[test]
fn passthrough_gives_a_container_the_streams_of_its_starter() {
    let (world, fs) = world_over_directory();
    let run_flags = format!("--network none --log-driver passthrough --rootfs {fs}");
    // A file stays a file: nobody is in between who would have to copy.
    let script = format!(
        "\"$@\" run --name c {run_flags} sh -c 'cat; echo err >&2; [ -f /proc/self/fd/1 ] && echo a file' < in > out 2> err; echo $?"
    );
    fs::write(world.dir().join("work").join("in"), "from a file\n").unwrap();
    assert_eq!(through_shell(&world, &script).succeeds(), "0");
    let read = |name: &str| fs::read_to_string(world.dir().join("work").join(name)).unwrap();
    assert_eq!((read("out"), read("err")), ("from a file\na file\n".into(), "err\n".into()));
    // In the background, too, and then standard output is the container's alone.
    let script = format!(
        "\"$@\" run -d --name d {run_flags} sh -c 'sleep 0.2; echo later; exit 3' > out; \"$@\" wait d"
    );
    assert_eq!(through_shell(&world, &script).succeeds(), "3");
    assert_eq!(read("out"), "later\n");
    // What this test reads from must not stay open with it.
    through_shell(&world, &format!("\"$@\" run -d --name f {run_flags} sleep 300 > out 2>&1")).succeeds();
    world.loment(["attach", "f"]).fails_saying(125, &["log driver, cannot attach"]);
    world.loment(["rm", "-f", "-t", "0", "f"]).succeeds();
    // And when it is started again, those of whoever does that.
    assert_eq!(through_shell(&world, "\"$@\" start d > again; \"$@\" wait d").succeeds(), "3");
    assert_eq!(read("again"), "d\nlater\n");
    let script = format!("\"$@\" run --name e {run_flags} sh -c 'exit 7' | cat; \"$@\" wait e");
    assert_eq!(through_shell(&world, &script).succeeds(), "7");
}

#[test]
fn passthrough_is_refused_at_a_terminal() {
    let (world, fs) = world_over_directory();
    let command = |driver: &str| {
        let head = ["run", "--network", "none", "--log-driver", driver];
        world.command([&head[..], &["--rootfs", &fs, "tty"]].concat())
    };
    let terminal = loment_testkit::Terminal::start(&command("passthrough"));
    terminal.shows("If you really want it, use '--log-driver passthrough-tty'");
    let terminal = loment_testkit::Terminal::start(&command("passthrough-tty"));
    terminal.shows("not a tty");
}

/// A journal of our own, in a mount namespace of its own: runs a script there, in which `"$@"` is this program.
fn with_journal(world: &World, script: &str) -> Output {
    let journald = "/lib/systemd/systemd-journald";
    assert!(Path::new(journald).exists(), "this test needs systemd's journal");
    let set_up = format!(
        r#"
        mount --make-rprivate /
        for dir in /run/systemd /run/log /etc/systemd; do mkdir -p $dir; mount -t tmpfs tmpfs $dir; done
        mkdir -p /run/systemd/journal /run/log/journal
        printf '[Journal]\nStorage=volatile\nAudit=\nReadKMsg=no\nForwardToSyslog=no\nForwardToWall=no\nRateLimitIntervalSec=0\n' \
            > /etc/systemd/journald.conf
        {journald} > /dev/null 2>&1 & journald=$!
        trap 'kill $journald; wait' EXIT
        until [ -S /run/systemd/journal/socket ]; do sleep 0.05; done
        {script}
        "#
    );
    let command = world.command::<&str>([]);
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "sh", "-c", &set_up, "sh"]).arg(command.get_program()).args(command.get_args());
    shell.env_clear().envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
    shell.env("FS", world.path("fs"));
    run(&mut shell, Patience::NORMAL)
}

#[test]
fn the_journal_gets_lines_with_the_fields_of_the_peers() {
    let (world, _) = world_over_directory();
    let script = r#"
        exec 3>&1 > /dev/null
        "$@" run --network none --name c --log-driver journald --label tier=front \
            --log-opt tag='{{.Name}}-tag' --log-opt label='EXTRA={{.Name}}' --log-opt labels=tier \
            --rootfs $FS sh -c 'echo out; echo err >&2; head -c 20000 /dev/zero | tr "\0" x; echo; printf "no end"' 2> /dev/null
        journalctl --sync
        exec >&3
        id=$("$@" inspect -f '{{.Id}}' c)
        journalctl -q --no-pager -o json --all CONTAINER_NAME=c | sed "s/$id/ID/g; s/$(echo $id | head -c 12)/SHORT/g"
    "#;
    let output = with_journal(&world, script);
    let lines: Vec<serde_json::Value> =
        output.succeeds().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let find = |message: &str| lines.iter().find(|l| l["MESSAGE"] == message).unwrap();
    for (message, priority) in [("out", "6"), ("err", "3"), ("no end", "6")] {
        let line = find(message);
        for (name, value) in [
            ("PRIORITY", priority),
            ("CONTAINER_ID", "SHORT"),
            ("CONTAINER_ID_FULL", "ID"),
            ("CONTAINER_NAME", "c"),
            ("CONTAINER_TAG", "c-tag"),
            ("SYSLOG_IDENTIFIER", "c-tag"),
            ("EXTRA", "c"),
            ("TIER", "front"),
        ] {
            assert_eq!(line[name], value, "{message}: {name}");
        }
        assert!(line.get("CONTAINER_PARTIAL_MESSAGE").is_none(), "{message}");
    }
    let parts: Vec<_> = lines.iter().filter(|l| l["MESSAGE"].as_str().unwrap().starts_with("xx")).collect();
    assert_eq!(parts.len(), 2);
    assert_eq!(
        (&parts[0]["CONTAINER_PARTIAL_MESSAGE"], parts[0]["MESSAGE"].as_str().unwrap().len()),
        (&"true".into(), 16_384)
    );
    assert!(parts[1].get("CONTAINER_PARTIAL_MESSAGE").is_none());
}

#[test]
fn logs_come_from_the_journal_whole_and_in_order() {
    let (world, _) = world_over_directory();
    let script = r#"
        "$@" run --network none --name other --log-driver journald --rootfs $FS echo other > /dev/null
        "$@" run -d --network none --name c --log-driver journald --rootfs $FS \
            sh -c 'echo err >&2; seq 20000; sleep 0.5; head -c 20000 /dev/zero | tr "\0" x; echo; printf end' > /dev/null
        "$@" logs -f c 2> /dev/null | sha256sum
        (seq 20000; head -c 20000 /dev/zero | tr '\0' x; echo; echo end) | sha256sum
        "$@" logs c 2> /dev/null | wc -l
        "$@" logs --tail 2 c 2> /dev/null | wc -c
        "$@" logs --tail 3 c 2> /dev/null | cut -c 1-5
        "$@" logs c 2>&1 > /dev/null
        "$@" logs -f --tail 1 c
        "$@" logs --since 1h --until 2026-01-01 c
        "$@" logs -t other | grep -c 'Z other$'
    "#;
    let output = with_journal(&world, script);
    let lines: Vec<_> = output.succeeds().lines().collect();
    assert_eq!(lines[0], lines[1]);
    // The last line has no end, nor does the journal know of one: it is shown as a line.
    assert_eq!(&lines[2..], ["20002", "20005", "20000", "xxxxx", "end", "err", "end", "1"]);
}

/// A journal that takes nothing for a while makes the program wait, not lose.
#[test]
fn a_journal_that_is_stopped_loses_nothing() {
    let (world, _) = world_over_directory();
    let script = r#"
        "$@" run -d --network none --name c --log-driver journald --rootfs $FS sh -c 'sleep 0.5; seq 50000' > /dev/null
        kill -STOP $journald
        sleep 2
        "$@" ps -q | wc -l
        kill -CONT $journald
        "$@" logs -f c | sha256sum
        seq 50000 | sha256sum
    "#;
    let output = with_journal(&world, script);
    let lines: Vec<_> = output.succeeds().lines().collect();
    assert_eq!((lines[0], lines[1]), ("1", lines[2]));
}

#[test]
fn without_a_journal_the_start_says_so() {
    let (world, fs) = world_over_directory();
    if Path::new("/run/systemd/journal/socket").exists() {
        return loment_testkit::skip("a start without a journal", "this machine has one");
    }
    container(&world, &fs, &["--log-driver", "journald"], "true").fails_saying(
        125,
        &["open the log: connect to the journal at /run/systemd/journal/socket: no such file"],
    );
}

#[test]
fn a_log_that_cannot_be_opened_is_named() {
    let (world, fs) = world_over_directory();
    container(&world, &fs, &["--log-opt", "path=/nonexistent/dir/my.log"], "true")
        .fails_saying(125, &["open the log: /nonexistent/dir/my.log: no such file or directory"]);
}

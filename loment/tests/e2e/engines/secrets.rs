//! Secrets of Podman and of ours: the same commands.

use loment_testkit::Output;
use serde_json::Value;

use super::{LIMITS, Podman, prepared, runtimes};

/// What commands print and how they end, without ids and times.
fn tell(run: &dyn Fn(&[&str]) -> Output, file: &str, empty: &str) -> Vec<String> {
    let mut told = Vec::new();
    let mut say = |arguments: &[&str]| {
        let output = run(arguments);
        told.push(format!("{}: {} {}", arguments.join(" "), output.code, output.stdout.trim_end()));
    };
    let id = run(&["secret", "create", "s", file]).succeeds().to_owned();
    assert!(id.len() == 25 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    for name in ["other", "third"] {
        run(&["secret", "create", name, file]).succeeds();
    }
    let inspect = ["secret", "inspect", "--format", "{{.Spec.Name}} {{.Spec.Driver.Name}}"];
    say(&[&inspect[..], &["s"]].concat());
    assert_eq!(run(&[&inspect[..], &[&id[..8]]].concat()).succeeds(), "s file");
    say(&["secret", "ls", "--filter", "name=^s$", "--format", "{{.Name}} {{.Driver}}"]);
    let head = [&["run", "--rm", "--network", "none"], &LIMITS[..]].concat();
    let secrets = [
        "--secret",
        "s",
        "--secret",
        "other,target=t,uid=1,gid=2,mode=0400",
        "--secret",
        "third,target=/k,mode=0440",
    ];
    let variables = ["--secret", "s,type=env", "--secret", "other,type=env,target=V"];
    let script =
        "stat -c '%n %u %g %a' /run/secrets/s /run/secrets/t /k; cat /run/secrets/s; env | grep -E '^(s|V)='";
    say(&[&head[..], &secrets, &variables, &["localhost/image", "sh", "-c", script]].concat());
    // What is refused.
    for arguments in [
        &["secret", "create", "s", file][..],
        &["secret", "create", "a/b", file],
        &["secret", "create", "e", empty],
        &["secret", "create", "--driver", "vault", "e", file],
        &["secret", "inspect", "nobody"],
        &["secret", "rm", "nobody"],
        &["secret", "ls", "--filter", "colour=red"],
    ] {
        say(arguments);
    }
    for secret in ["nobody", "s,type=x", "s,mode=9", "s,type=env,uid=1", "s,colour=red", "type=env"] {
        say(&[&head[..], &["--secret", secret, "localhost/image", "true"]].concat());
    }
    let documents: Value = serde_json::from_str(&run(&["secret", "inspect", "s"]).stdout).unwrap();
    let mut document = documents[0].clone();
    for field in ["ID", "CreatedAt", "UpdatedAt"] {
        assert!(document[field].is_string(), "{document}");
        document[field] = Value::Null;
    }
    // Where the file is, which need not be said here.
    document["Spec"]["Driver"]["Options"] = Value::Null;
    told.push(document.to_string());
    assert_eq!(run(&["secret", "rm", "s", "other", "third"]).succeeds().lines().next(), Some(id.as_str()));
    told
}

#[test]
fn secrets_are_what_they_are_for_podman() {
    let world = prepared();
    let podman = Podman::new(&world, &runtimes(&world)[1], "podman");
    podman.run(&["tag", "image", "localhost/image"]);
    let (file, empty) = (world.write("secret", "hidden"), world.write("empty", ""));
    let theirs = tell(&|arguments| podman.run(arguments), &file, &empty);
    let tar = world.path("image.tar").display().to_string();
    world.loment(["import", "--quiet", &tar, "localhost/image"]).succeeds();
    let ours = tell(&|arguments| world.persona("podman", arguments), &file, &empty);
    assert_eq!(ours, theirs);
}

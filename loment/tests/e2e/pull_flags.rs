//! How `pull` is told what, when and how often.

use std::fs;
use std::io::copy;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use loment_testkit::{
    Compression, Config, Entry, Fault, FaultyWay, Image, Layer, Layout, Output, Patience, Registry, SlowWay,
    Terminal, Variant, World, run,
};

use crate::{fixtures, world};

#[test]
fn all_tags_of_a_repository_are_pulled() {
    let (world, registry) = (world(), fixtures().serve());
    let pulled = world.loment(["pull", "--quiet", "--all-tags", &registry.name("busybox")]);
    assert_eq!(pulled.succeeds().lines().count(), 4, "{pulled}");
    let tags = world.loment(["images", "--sort", "tag", "--format", "{{.Tag}}"]);
    assert_eq!(tags.succeeds(), "docker\nlatest\nplain\nzstd");
    let tagged = world.loment(["pull", "-a", &registry.name("busybox:latest")]);
    tagged.fails_saying(125, &["with --all-tags, leave out the tag"]);
}

#[test]
fn a_policy_decides_whether_the_registry_is_asked() {
    let (world, registry) = (world(), fixtures().serve());
    let image = registry.name("busybox:latest");
    world.loment(["pull", "--policy", "never", &image]).fails_saying(125, &["image not known"]);
    let id = world.loment(["pull", "--quiet", "--policy", "missing", &image]).succeeds().to_owned();
    drop(registry);
    for policy in ["never", "missing", "newer"] {
        let kept = world.loment(["pull", "--quiet", "--policy", policy, &image]);
        assert_eq!(kept.succeeds(), id, "{policy}");
    }
    world.loment(["pull", &image]).fails_saying(125, &["connection refused"]);
    let bad = world.loment(["pull", "--policy", "sometimes", &image]);
    bad.fails_saying(125, &["invalid value \"sometimes\" for --policy"]);
}

#[test]
fn newer_means_another_digest() {
    let (world, registry) = (world(), fixtures().serve_copy());
    let image = registry.name("busybox:latest");
    let id = world.loment(["pull", "--quiet", &image]).succeeds().to_owned();
    let newer = ["pull", "--policy", "newer", &image];
    let same = world.loment(newer);
    assert_eq!((same.succeeds(), same.stderr.as_str()), (id.as_str(), ""));
    let from = format!("docker://{}", registry.name("app:latest"));
    world.loment(["image", "copy", "--quiet", &from, &format!("docker://{image}")]).succeeds();
    let other = world.loment(newer);
    assert_ne!(other.succeeds(), id);
    assert!(other.stderr.starts_with(&format!("Trying to pull {image}...\n")), "{other}");
    assert_eq!(world.inspect("{{.Id}}", &image), other.succeeds());
}

#[test]
fn an_image_for_another_platform_is_none() {
    let (world, registry) = (world(), fixtures().serve());
    let image = registry.name("multi:latest");
    let here = world.loment(["pull", "--quiet", &image]).succeeds().to_owned();
    let arm = ["pull", "--quiet", "--arch", "arm64", "--variant", "v8", &image];
    world.loment([&arm[..], &["--policy", "never"]].concat()).fails_saying(125, &["image not known"]);
    assert_ne!(world.loment([&arm[..], &["--policy", "missing"]].concat()).succeeds(), here);
    assert_eq!(world.inspect("{{.Architecture}}", &image), "arm64");
    // Without a wish, what is here is taken.
    world.loment(["pull", "--quiet", "--policy", "never", &image]).succeeds();
    let run = ["run", "--rm", "--network", "none", "--platform", "linux/amd64", &image, "true"];
    let _ = world.loment(run);
    assert_eq!(world.inspect("{{.Id}}", &image), here);
}

#[test]
fn parts_of_a_platform_can_be_chosen() {
    let (world, registry) = (world(), fixtures().serve());
    let image = registry.name("multi:latest");
    world.loment(["pull", "--quiet", "--arch", "arm64", "--variant", "v8", &image]).succeeds();
    assert_eq!(world.inspect("{{.Architecture}}", &image), "arm64");
    world.loment(["pull", "--quiet", "--os", "linux", "--disable-content-trust", &image]).succeeds();
    assert_eq!(world.inspect("{{.Os}}", &image), "linux");
    world.loment(["pull", "--os", "plan9", &image]).fails_saying(125, &["no image for platform plan9/"]);
    world.loment(["pull", "--os", "linux", "--platform", "linux/arm64", &image]).fails(125);
}

#[test]
fn without_a_terminal_progress_is_podmans_lines() {
    let (world, registry) = (world(), fixtures().serve());
    let image = registry.name("app:latest");
    let pulled = world.loment(["pull", &image]);
    pulled.succeeds();
    let lines: Vec<_> = pulled.stderr.lines().collect();
    assert_eq!(lines[0], format!("Trying to pull {image}..."));
    assert!(lines[1].starts_with("Copying blob sha256:") && lines[2].starts_with("Copying blob sha256:"));
    assert!(lines[3].starts_with("Copying config sha256:"), "{pulled}");
    assert_eq!(lines[4..], ["Writing manifest to image destination"]);
    let again = world.loment(["pull", &image]);
    assert!(again.stderr.contains(" skipped: already exists\n"), "{again}");
}

/// A server that closes its first connections, and passes on what comes later.
pub(crate) fn moody(port: &str, refused: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let target = format!("127.0.0.1:{port}");
    thread::spawn(move || {
        for client in listener.incoming().skip(refused) {
            let (client, server) = (client.unwrap(), TcpStream::connect(&target).unwrap());
            for (mut from, mut to) in
                [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
            {
                thread::spawn(move || {
                    // Whoever ends first ends the other.
                    let _ = copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
    address
}

#[test]
fn a_pull_is_tried_again() {
    let (world, registry) = (world(), fixtures().serve());
    let port = registry.host().rsplit_once(':').unwrap().1.to_owned();
    let image = format!("{}/busybox:latest", moody(&port, 40));
    world.loment(["pull", "--quiet", "--retry", "0", &image]).fails(125);
    let again = ["pull", "--quiet", "--retry", "40", "--retry-delay", "10ms", &image];
    world.loment(again).succeeds();
    // What is not there will not come.
    let missing = ["pull", "--retry", "3", "--retry-delay", "50s", &registry.name("nonesuch")];
    let failed = world.loment(missing);
    assert!(failed.code == 125 && !failed.stderr.contains("Trying again"), "{failed}");
}

#[test]
fn three_more_attempts_are_made_when_nobody_says_it() {
    let (world, registry, writable) = (world(), fixtures().serve(), Registry::empty());
    let port = |registry: &Registry| registry.host().rsplit_once(':').unwrap().1.to_owned();
    // Some ten connections in an attempt: five requests, first over TLS.
    let image = format!("{}/busybox:latest", moody(&port(&registry), 25));
    let pull = world.loment(["pull", "--quiet", "--retry-delay", "10ms", &image]);
    pull.succeeds();
    assert_eq!(pull.stderr.matches("Trying again in 10ms: ").count(), 2, "{pull}");
    let to = format!("{}/pushed:1", moody(&port(&writable), 25));
    let push = world.loment(["push", "--quiet", "--retry-delay", "10ms", &image, &to]);
    push.succeeds();
    assert!(push.stderr.contains("Trying again in 10ms: "), "{push}");
    // But who was never there is not waited for unasked.
    let gone = format!(
        "127.0.0.1:{}/x",
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    );
    for command in [vec!["pull", "-q", &gone], vec!["push", "-q", &image, &gone]] {
        let failed = world.loment(command);
        assert!(failed.code == 125 && !failed.stderr.contains("Trying again"), "{failed}");
    }
}

#[test]
fn what_will_not_pass_is_not_tried_again() {
    let (world, registry) = (world(), fixtures().serve());
    let (image, to) = (registry.name("busybox:latest"), format!("{}/x:1", Registry::empty().host()));
    world.loment(["pull", "-q", &image]).succeeds();
    let dir = format!("dir:{}", world.path("copied").display());
    // Plain HTTP where TLS is demanded; what is not there.
    let push =
        ["push", "-q", "--tls-verify", "--retry", "3", "--retry-delay", "50s", &image, &registry.name("x:1")];
    let missing = format!("docker://{}", registry.name("nonesuch:1"));
    let copy = ["image", "copy", "-q", "--retry-times", "3", "--retry-delay", "50s", &missing, &dir];
    let inspect = ["image", "inspect", "--raw", "--retry-times", "3", "--retry-delay", "50s", &missing];
    for command in [&push[..], &copy, &inspect] {
        let failed = world.loment(command);
        assert!(failed.code != 0 && !failed.stderr.contains("Trying again"), "{failed}");
    }
    // What may.
    let push = ["push", "-q", "--retry", "1", "--retry-delay", "10ms", &image, &to];
    let failed = world.loment(push);
    assert!(failed.code == 125 && failed.stderr.contains("Trying again in 10ms: "), "{failed}");
}

/// With what containers.conf says.
fn configured(world: &World, engine: &str, arguments: &[&str]) -> Output {
    let conf = world.path("containers.conf");
    fs::write(&conf, format!("[engine]\n{engine}\n")).unwrap();
    run(world.command(arguments.iter().copied()).env("CONTAINERS_CONF", &conf), Patience::NORMAL)
}

#[test]
fn containers_conf_says_how_often_is_tried_again() {
    let (world, registry) = (world(), fixtures().serve());
    let port = registry.host().rsplit_once(':').unwrap().1.to_owned();
    let image = |refused| format!("{}/busybox:latest", moody(&port, refused));
    let again = "retry = 40\nretry_delay = \"10ms\"";
    let name = image(14);
    configured(&world, again, &["pull", "--quiet", &name]).succeeds();
    configured(&world, again, &["pull", "--quiet", "--retry", "0", &image(60)]).fails(125);
    let writable = Registry::empty();
    let to = format!("{}/pushed:1", moody(writable.host().rsplit_once(':').unwrap().1, 14));
    configured(&world, again, &["push", "--quiet", &name, &to]).succeeds();
    configured(&world, "retry_delay = \"soon\"", &["pull", "--quiet", &name])
        .fails_saying(125, &["\"soon\"", "retry_delay in containers.conf"]);
}

#[test]
fn containers_conf_says_how_many_layers_come_at_once() {
    let (world, registry) = (world(), Registry::empty());
    let mut layout = Layout::create(&world.path("layout"));
    let layers = (0..8).map(|n| Layer::of([Entry::file(&format!("f{n}"), vec![n; 256 << 10])]).into());
    layout.add("many", &Image::new(Config::shell(), layers), Compression::None);
    layout.push("many", &registry.name("many:1"), Variant::AsIs);
    let connections = |count: usize| {
        let way = SlowWay::to(&registry, 2 << 20, true);
        let world = crate::world();
        let conf = format!("image_parallel_copies = {count}");
        configured(&world, &conf, &["pull", "-q", "--tls-verify=false", &way.name("many:1")]).succeeds();
        way.connections()
    };
    let (one, eight) = (connections(1), connections(8));
    assert!(one < eight, "{one} with one at a time, {eight} with eight");
}

#[test]
fn at_a_terminal_there_are_bars_with_rates() {
    let (world, registry) = (world(), fixtures().serve());
    let mut terminal = Terminal::start(&world.command(["pull", &registry.name("busybox:latest")]));
    assert_eq!(terminal.ends(), 0, "{}", terminal.screen());
    let screen = terminal.screen();
    for part in ["Copying blob ", "B/s", " done", "Copying config ", "Writing manifest"] {
        assert!(screen.contains(part), "{part}: {screen}");
    }
}

#[test]
fn what_is_pulled_again_is_asked_for_and_fetched_only_when_it_is_another() {
    let (world, registry) = (world(), fixtures().serve_copy());
    let way = FaultyWay::to(&registry.host(), "", Fault::Busy, 0);
    let name = way.name("multi:latest");
    let methods = |way: &FaultyWay, flags: &[&str]| -> Vec<String> {
        let (before, name) = (way.requests().len(), way.name("multi:latest"));
        world.loment([&["pull", "-q"], flags, &[&name]].concat()).succeeds();
        let word = |request: &String| request.split(' ').next().unwrap_or_default().to_owned();
        way.requests()[before..].iter().map(word).collect()
    };
    let pull = |flags: &[&str]| methods(&way, flags);
    let heads = |methods: &[String]| methods.iter().filter(|method| *method == "HEAD").count();
    // Nothing is known by that name: not one request more than before.
    let first = pull(&[]);
    assert!(first.len() > 3 && heads(&first) == 0, "{first:?}");
    let id = world.inspect("{{.Id}}", &name);
    assert_eq!(pull(&[]), ["HEAD"]);
    assert_eq!(pull(&["--policy", "newer"]), ["HEAD"]);
    assert_eq!(world.inspect("{{.Id}}", &name), id);
    // The image for another machine is not here, but the index is.
    let other = pull(&["--platform", "linux/arm64"]);
    assert!(heads(&other) == 1 && other.len() < 1 + first.len(), "{other:?}");
    assert_eq!(pull(&[])[0], "HEAD");
    // Something else has the name by now.
    for (tag, flags) in [("zstd", &[][..]), ("latest", &["--policy", "newer"])] {
        let [from, to] =
            [format!("busybox:{tag}"), "multi:latest".to_owned()].map(|name| registry.name(&name));
        let [from, to] = [from, to].map(|name| format!("docker://{name}"));
        world.loment(["image", "copy", "-q", "--preserve-digests", &from, &to]).succeeds();
        let changed = pull(flags);
        assert!(changed[0] == "HEAD" && changed[1] == "GET" && heads(&changed) == 1, "{changed:?}");
        let digest = world.inspect("{{.Digest}}", &name);
        assert_eq!(digest.trim(), registry.digest_of("multi", "latest"));
    }
    world.loment(["rmi", &name]).succeeds();
    assert_eq!(heads(&pull(&[])), 0);
    // One that cannot do it.
    let unable = FaultyWay::to(&registry.host(), "HEAD", Fault::Busy, usize::MAX);
    methods(&unable, &[]);
    assert_eq!(methods(&unable, &[])[..2], ["HEAD", "GET"]);
    world.loment(["system", "check"]).succeeds();
}

#[test]
fn a_manifest_that_is_damaged_here_is_fetched_though_the_registry_says_it_is_the_same() {
    let (world, registry) = (world(), fixtures().serve());
    let way = FaultyWay::to(&registry.host(), "", Fault::Busy, 0);
    let name = way.name("busybox:latest");
    world.loment(["pull", "-q", &name]).succeeds();
    let digest = world.inspect("{{.Digest}}", &name);
    let (algorithm, hex) = digest.trim().split_once(':').unwrap();
    let blob = world.root().join("blobs").join(algorithm).join(&hex[..2]).join(hex);
    let manifest = fs::read(&blob).unwrap();
    for damaged in [vec![b' '; manifest.len()], manifest[..manifest.len() / 2].to_vec(), Vec::new()] {
        fs::write(&blob, damaged).unwrap();
        let before = way.requests().len();
        world.loment(["pull", "-q", &name]).succeeds();
        assert!(way.requests()[before..].iter().any(|request| request.starts_with("GET")), "{blob:?}");
        assert_eq!(fs::read(&blob).unwrap(), manifest);
        world.loment(["system", "check"]).succeeds();
    }
}

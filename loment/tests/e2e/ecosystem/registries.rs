//! Where images are really fetched from: prefixes, locations, mirrors, blocked and insecure registries, proxies.

use std::io::{Read, Write};
use std::net::TcpListener;

use loment_testkit::{Patience, Registry, run};

use super::{called, configure, podman};
use crate::{fixtures, world};

/// Nobody listens there.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("127.0.0.1 has free ports");
    format!("127.0.0.1:{}", listener.local_addr().expect("a bound socket has an address").port())
}

#[test]
fn a_name_is_looked_for_where_its_prefix_says() {
    let world = world();
    let registry = fixtures().serve();
    let conf = format!("[[registry]]\nprefix = \"images.test/our\"\nlocation = {:?}\n", registry.host());
    configure(&world, "registries.conf", &conf);
    // For every name the program is called by; the image keeps the name that was asked for.
    world.loment(["pull", "--quiet", "images.test/our/multi:latest"]).succeeds();
    run(&mut podman(&world, &["pull", "--quiet", "images.test/our/busybox"]), Patience::NORMAL).succeeds();
    for name in ["images.test/our/multi:latest", "images.test/our/busybox:latest"] {
        assert_eq!(world.loment(["image", "exists", name]).code, 0, "{name}");
    }
    assert_eq!(world.loment(["image", "exists", &registry.name("multi:latest")]).code, 1);
    world.loment(["run", "--rm", "--network", "none", "images.test/our/busybox", "true"]).succeeds();
}

#[test]
fn what_a_mirror_lacks_comes_from_the_next_place() {
    let world = world();
    let (empty, dead, full) = (Registry::empty(), nobody(), fixtures().serve());
    let conf = format!(
        "[[registry]]\nprefix = \"images.test\"\nlocation = {:?}\n[[registry.mirror]]\nlocation = {dead:?}\n\
         [[registry.mirror]]\nlocation = {:?}\n",
        full.host(),
        empty.host()
    );
    configure(&world, "registries.conf", &conf);
    world.loment(["pull", "--quiet", "images.test/multi:latest"]).succeeds();
    let copy = world.path("copy").display().to_string();
    world
        .loment(["image", "copy", "--quiet", "docker://images.test/multi:latest", &format!("dir:{copy}")])
        .succeeds();
    let failed = world.loment(["pull", "--quiet", "images.test/no/such:1"]);
    let (one, two) = (format!("[{dead}/no/such:1: cannot connect"), format!("[{}", empty.name("no/such:1")));
    failed.fails_saying(125, &["mirrors also failed", &one, &two, "manifest unknown", &full.host()]);
}

#[test]
fn a_blob_that_the_mirror_lost_comes_from_the_registry() {
    let world = world();
    let (mirror, full) = (fixtures().serve_copy(), fixtures().serve());
    let manifest = full.manifest("tree", "latest");
    let layers = manifest["layers"].as_array().expect("an image has layers");
    for layer in layers {
        let file = mirror.blob_file(layer["digest"].as_str().expect("a layer has a digest"));
        std::fs::remove_file(file).expect("the mirror has the layer");
    }
    let conf = format!(
        "[[registry]]\nlocation = {:?}\n[[registry.mirror]]\nlocation = {:?}\n",
        full.host(),
        mirror.host()
    );
    configure(&world, "registries.conf", &conf);
    world.loment(["pull", "--quiet", &full.name("tree:latest")]).succeeds();
}

#[test]
fn a_mirror_for_digests_is_not_asked_for_a_tag() {
    let world = world();
    let (mirror, empty) = (fixtures().serve(), Registry::empty());
    let conf = format!(
        "[[registry]]\nprefix = \"images.test\"\nlocation = {:?}\nmirror-by-digest-only = true\n\
         [[registry.mirror]]\nlocation = {:?}\n",
        empty.host(),
        mirror.host()
    );
    configure(&world, "registries.conf", &conf);
    let failed = world.loment(["pull", "--quiet", "images.test/multi:latest"]);
    failed.fails_saying(125, &[&empty.host(), "manifest unknown"]);
    let digest = mirror.digest_of("multi", "latest");
    world.loment(["pull", "--quiet", &format!("images.test/multi@{digest}")]).succeeds();
}

#[test]
fn nothing_goes_to_or_comes_from_a_blocked_registry() {
    let world = world();
    let registry = fixtures().serve();
    world.loment(["pull", "--quiet", &registry.name("multi:latest")]).succeeds();
    let conf = format!("[[registry]]\nlocation = \"{}/multi\"\nblocked = true\n", registry.host());
    let path = configure(&world, "registries.conf", &conf);
    let said = format!("registry {}/multi is blocked in {path}", registry.host());
    let name = registry.name("multi:latest");
    world.loment(["pull", "--quiet", &name]).fails_saying(125, &[&said]);
    run(&mut called(&world, "docker", &["pull", "--quiet", &name]), Patience::NORMAL)
        .fails_saying(1, &[&said]);
    run(&mut podman(&world, &["pull", "--quiet", &name]), Patience::NORMAL).fails_saying(125, &[&said]);
    world.loment(["push", "--quiet", &name]).fails_saying(125, &[&said]);
    let to = format!("dir:{}", world.path("copy").display());
    world.loment(["image", "copy", "--quiet", &format!("docker://{name}"), &to]).fails_saying(125, &[&said]);
    world.loment(["pull", "--quiet", &registry.name("busybox:latest")]).succeeds();
    // What is here already can be used.
    world.loment(["image", "exists", &name]).succeeds();
}

#[test]
fn plain_http_on_loopback_is_refused_where_somebody_says_so() {
    let (world, registry) = (world(), fixtures().serve());
    let name = registry.name("busybox:latest");
    let said = "server gave HTTP response to HTTPS client";
    let copy = format!("dir:{}", world.path("copy").display());
    let from = format!("docker://{name}");
    world.loment(["pull", "--quiet", "--tls-verify", &name]).fails_saying(125, &[said]);
    world.loment(["pull", "--quiet", "--tls-verify=true", &name]).fails_saying(125, &[said]);
    world
        .loment(["login", "--tls-verify", "-u", "u", "-p", "p", &registry.host()])
        .fails_saying(125, &[said]);
    world.loment(["image", "copy", "-q", "--src-tls-verify=true", &from, &copy]).fails_saying(125, &[said]);
    let table = |insecure: &str| format!("[[registry]]\nlocation = {:?}\n{insecure}\n", registry.host());
    configure(&world, "registries.conf", &table("insecure = false"));
    world.loment(["pull", "--quiet", &name]).fails_saying(125, &[said]);
    world
        .loment(["image", "list-tags", &format!("docker://{}", registry.name("busybox"))])
        .fails_saying(125, &[said]);
    // A flag goes before the file, and so nobody has said it.
    world.loment(["pull", "--quiet", "--tls-verify=false", &name]).succeeds();
    configure(&world, "registries.conf", &table(""));
    world.loment(["pull", "--quiet", &name]).succeeds();
}

#[test]
fn an_insecure_registry_needs_no_certificate_that_is_vouched_for() {
    let world = world();
    let registry = Registry::with_tls(&fixtures().storage());
    let name = registry.name("multi:latest");
    world.loment(["pull", "--quiet", &name]).fails_saying(125, &["TLS"]);
    configure(
        &world,
        "registries.conf",
        &format!("[[registry]]\nlocation = {:?}\ninsecure = true\n", registry.host()),
    );
    world.loment(["pull", "--quiet", &name]).succeeds();
    // A flag goes before the file.
    world.loment(["pull", "--quiet", "--tls-verify", &name]).fails_saying(125, &["TLS"]);
    // Its certificate, where the user keeps such, or in a directory that a flag names.
    configure(&world, "registries.conf", "");
    let certificate = std::fs::read_to_string(registry.certificate()).unwrap();
    let directory = registry.certificate().parent().unwrap().display().to_string();
    world.loment(["pull", "--quiet", "--cert-dir", &format!("{directory}/none"), &name]).fails(125);
    let only = world.path("certs");
    std::fs::create_dir(&only).unwrap();
    std::fs::write(only.join("ca.crt"), &certificate).unwrap();
    world.loment(["pull", "--quiet", "--cert-dir", &only.display().to_string(), &name]).succeeds();
    configure(&world, &format!("certs.d/{}/ca.crt", registry.host()), &certificate);
    world.loment(["pull", "--quiet", &name]).succeeds();
}

#[test]
fn proxies_of_the_environment_are_used() {
    let world = world();
    let listener = TcpListener::bind("127.0.0.1:0").expect("127.0.0.1 has free ports");
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody asks");
        let mut request = [0; 64];
        let length = stream.read(&mut request).expect("a request is sent");
        stream.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n").expect("it is answered");
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let mut command = world.command(["pull", "--quiet", "proxied.test/multi"]);
    let output = run(command.env("https_proxy", &proxy), Patience::NORMAL);
    output.fails_saying(125, &["does not connect to proxied.test"]);
    let asked = asked.join().expect("the proxy was asked");
    assert!(asked.starts_with("CONNECT proxied.test:443 HTTP/1.1\r\n"), "{asked}");
    // This machine is never asked through a proxy.
    let registry = fixtures().serve();
    let mut command = world.command(["pull", "--quiet", &registry.name("multi")]);
    run(command.env("http_proxy", &proxy).env("HTTPS_PROXY", &proxy), Patience::NORMAL).succeeds();
}

/// But for version 1, which we refuse, and a blocked prefix with another location, which skopeo forgets.
#[test]
fn skopeo_looks_where_we_look() {
    let world = world();
    let (full, empty, dead) = (fixtures().serve(), Registry::empty(), nobody());
    let (f, e) = (full.host(), empty.host());
    let digest = full.digest_of("multi", "latest");
    let by_digest = format!("h.test/multi@{digest}");
    let table = |prefix: &str, rest: &str| format!("[[registry]]\nprefix = \"{prefix}\"\n{rest}\n");
    let to = |location: &str| format!("location = \"{location}\"\n");
    let mirror =
        |location: &str, more: &str| format!("[[registry.mirror]]\nlocation = \"{location}\"\n{more}\n");
    for (conf, name) in [
        (table("h.test", &to(&f)), "h.test/multi"),
        (table("h.test", &to(&f)), "h.test/multi:latest"),
        (table("h.test", &to(&f)), "h.test/multi:none"),
        (table("h.test", &to(&f)), by_digest.as_str()),
        (table("h.test/", &to(&format!("{f}/"))), "h.test/multi"),
        (table("h.test/a", &to(&f)), "h.test/a/multi"),
        (table("h.test/a", &to(&f)), "h.test/ab/multi"),
        (table("h.test:5000", &to(&f)), "h.test:5000/multi"),
        (table("h.test/multi", &to(&format!("{f}/multi"))), "h.test/multi"),
        (table("*.test", &to(&f)), "a.b.test/multi"),
        (table("*.h.test", &to(&f)), "a.h.test/multi"),
        (table("*.h.test", "blocked = true"), "a.h.test/multi"),
        (
            table("h.test", &to(&f)) + &table("h.test/multi", &format!("{}blocked = true", to("o.test"))),
            "h.test/multi",
        ),
        (table("h.test", &to(&f)) + &table(&f, &format!("{}blocked = true", to("o.test"))), "h.test/multi"),
        (table("h.test", &to(&f)) + &table("h.test", &to(&e)), "h.test/multi"),
        (table("h.test", &to(&f)) + &table("o.test", &format!("{}insecure = true", to(&f))), "h.test/multi"),
        (table("h.test", &to(&e)) + &mirror(&f, ""), "h.test/multi"),
        (table("h.test", &to(&e)) + &mirror(&dead, "") + &mirror(&f, ""), "h.test/multi"),
        (table("h.test", &to(&f)) + &mirror(&dead, "") + &mirror(&e, ""), "h.test/multi"),
        (table("h.test", &to(&e)) + &mirror(&dead, ""), "h.test/multi"),
        (
            table("h.test", &format!("{}mirror-by-digest-only = true", to(&e))) + &mirror(&f, ""),
            "h.test/multi",
        ),
        (
            table("h.test", &format!("{}mirror-by-digest-only = true", to(&e))) + &mirror(&f, ""),
            by_digest.as_str(),
        ),
        (table("h.test", &to(&e)) + &mirror(&f, "pull-from-mirror = \"digest-only\""), "h.test/multi"),
        (table("h.test", &to(&e)) + &mirror(&f, "pull-from-mirror = \"digest-only\""), by_digest.as_str()),
        (table("h.test", &to(&e)) + &mirror(&f, "pull-from-mirror = \"tag-only\""), "h.test/multi"),
        (table("h.test", &to(&e)) + &mirror(&f, "pull-from-mirror = \"tag-only\""), by_digest.as_str()),
        (table("h.test", &to(&e)) + &mirror(&f, "pull-from-mirror = \"all\""), "h.test/multi"),
        (table("h.test", &to(&e)) + &mirror(&f, "pull-from-mirror = \"no\""), "h.test/multi"),
        (table("h.test", &to(&f)) + &mirror("", ""), "h.test/multi"),
        (table("h.test", &format!("{}pull-from-mirror = \"all\"", to(&f))), "h.test/multi"),
        (table("h.test", ""), "h.test/multi"),
        (table("h.test", &to(&format!("http://{f}"))), "h.test/multi"),
        (table("docker.io/library", &to(&f)), "multi"),
        (table("h.test", &to("nodots")), "h.test/multi"),
        (format!("[[registry]]\nlocation = \"{f}\"\ninsecure = true\nunknown = 1\n"), &full.name("multi")),
        ("[[registry]]\n".into(), &full.name("multi")),
        ("unqualified-search-registries = [\"a/b\"]\n".into(), &full.name("multi")),
        ("short-name-mode = \"other\"\n".into(), &full.name("multi")),
        ("x = \n".into(), &full.name("multi")),
        (String::new(), &full.name("multi")),
    ] {
        let path = world.write("registries.conf", &conf);
        let (theirs, ours) = (world.path("theirs"), world.path("ours"));
        let image = format!("docker://{name}");
        let mut skopeo = std::process::Command::new("skopeo");
        skopeo.args([
            "--insecure-policy",
            "--registries-conf",
            &path,
            "copy",
            "--quiet",
            "--src-tls-verify=false",
        ]);
        let accepted = run(skopeo.arg(&image).arg(format!("dir:{}", theirs.display())), Patience::NORMAL);
        let to = format!("dir:{}", ours.display());
        let mut copy = world.command(["image", "copy", "--quiet", "--src-tls-verify=false", &image, &to]);
        let copied = run(copy.env("CONTAINERS_REGISTRIES_CONF", &path), Patience::NORMAL);
        assert_eq!(copied.code == 0, accepted.code == 0, "{conf}{name}\n{copied}\n{accepted}");
        for path in [theirs, ours] {
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

#[test]
fn what_is_newer_is_asked_where_it_is_fetched_from() {
    let world = world();
    let (named, real) = (fixtures().serve(), fixtures().serve_copy());
    let conf = format!("[[registry]]\nprefix = {:?}\nlocation = {:?}\n", named.host(), real.host());
    configure(&world, "registries.conf", &conf);
    let image = named.name("busybox:latest");
    let newer = || world.loment(["pull", "--quiet", "--policy", "newer", &image]).succeeds().to_owned();
    let first = newer();
    assert_eq!(newer(), first);
    // What the name itself leads to stays as it was.
    let docker = |name: &str| format!("docker://{}", real.name(name));
    world.loment(["image", "copy", "--quiet", &docker("tree:latest"), &docker("busybox:latest")]).succeeds();
    assert_ne!(newer(), first);
}

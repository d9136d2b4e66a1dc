//! `import` of what web servers have.

use std::path::PathBuf;
use std::process::Command;

use loment_testkit::{Patience, WebServer, World, busybox_rootfs, run};

use crate::world;

/// A world, and in it a directory with files to be served: `rootfs.tar`, the same as `rootfs.tar.gz`, in `locked`, and as what a
/// server has for `dir/`.
fn world_with_files() -> (World, PathBuf) {
    let world = world();
    let rootfs = world.path("rootfs");
    busybox_rootfs(&rootfs);
    let files = world.path("files");
    for dir in ["", "locked", "dir"] {
        std::fs::create_dir_all(files.join(dir)).unwrap();
    }
    let tar = files.join("rootfs.tar");
    run(Command::new("tar").arg("-C").arg(rootfs).arg("-cf").arg(&tar).arg("."), Patience::LONG).succeeds();
    run(Command::new("gzip").arg("--keep").arg(&tar), Patience::LONG).succeeds();
    std::fs::copy(files.join("rootfs.tar.gz"), files.join("locked/rootfs.tar.gz")).unwrap();
    std::fs::copy(&tar, files.join("dir/index.html")).unwrap();
    std::fs::write(files.join("text"), "no tar").unwrap();
    (world, files)
}

#[test]
fn a_root_file_system_of_a_web_server_becomes_an_image() {
    let (world, files) = world_with_files();
    let server = WebServer::serve(&files);
    let host = server.host();
    let layers = |id: &str| world.inspect("{{.RootFS.Layers}}", id);
    let file = files.join("rootfs.tar").display().to_string();
    let same = layers(world.loment(["import", "--quiet", &file]).succeeds());
    // Plain, compressed, behind a redirect, and for who has the password.
    for (url, name) in [
        (format!("http://{host}/rootfs.tar"), "localhost/plain:1"),
        (format!("http://{host}/rootfs.tar.gz"), "localhost/gzip:1"),
        (format!("http://{host}/dir"), "localhost/redirected:1"),
        (format!("http://user:s%65cret@{host}/locked/rootfs.tar.gz"), "localhost/locked:1"),
    ] {
        let flags = ["import", "--change", "CMD [\"echo\",\"here\"]", "--message", "from a server"];
        world.loment([&flags[..], &[&url, name]].concat()).succeeds();
        assert_eq!(layers(name), same, "{url}");
        assert_eq!(world.loment(["run", "--rm", "--network", "none", name]).succeeds(), "here", "{url}");
    }
    let images = world.loment(["images", "--quiet"]).succeeds().to_owned();
    let fails = |arguments: &[&str], words: &[&str]| {
        let failed = world.loment([&["import"], arguments].concat());
        failed.fails_saying(125, words);
        assert!(!failed.stderr.contains("secret"), "{failed}");
    };
    let url = |path: &str| format!("http://{host}/{path}");
    fails(&[&url("nonesuch.tar")], &[&url("nonesuch.tar"), "not known to"]);
    fails(&[&url("locked/rootfs.tar.gz")], &[&url("locked/rootfs.tar.gz"), "write USER:PASSWORD@"]);
    let wrong = format!("http://user:secret2@{host}/locked/rootfs.tar.gz");
    fails(&[&wrong], &[&url("locked/rootfs.tar.gz"), "another login"]);
    fails(&[&url("text"), "localhost/x"], &[&url("text"), "truncated"]);
    fails(&["http://127.0.0.1:9/x.tar"], &["http://127.0.0.1:9/x.tar", "connection refused"]);
    fails(&["https://u:secret@[x/"], &["https://[x/", "expected http://HOST/PATH"]);
    for sign in ["/", "?", "#"] {
        for scheme in ["https", "HTTPS"] {
            let unescaped = format!("{scheme}://u:x{sign}secret@[x/");
            fails(&[&unescaped], &["\"https://[x/\" cannot be fetched", "%2F for /"]);
        }
    }
    let upper = format!("HTTP://user:secret2@{host}/locked/rootfs.tar.gz");
    fails(&[&upper], &[&format!("HTTP://{host}/locked/rootfs.tar.gz"), "another login"]);
    fails(&[&url("rootfs.tar"), "UPPER"], &["must be lowercase"]);
    // It is refused before anything is asked for.
    let policy = world.write("policy.json", r#"{"default": [{"type": "reject"}]}"#);
    fails(
        &["--signature-policy", &policy, "http://127.0.0.1:9/x.tar"],
        &["tarball:http://127.0.0.1:9/x.tar"],
    );
    fails(&["--tls-verify=false", &file], &["--tls-verify is for URLs"]);
    fails(&["--cert-dir", "/", "-"], &["--cert-dir is for URLs"]);
    assert_eq!(world.loment(["images", "--quiet"]).succeeds(), images);
}

#[test]
fn certificates_of_web_servers_are_verified() {
    let (world, files) = world_with_files();
    let server = WebServer::with_tls(&files);
    let (url, plain) =
        (format!("https://{}/rootfs.tar.gz", server.host()), format!("http://{}/rootfs.tar", server.host()));
    world.loment(["import", &url]).fails_saying(125, &[&url, "certificate"]);
    let certificates = server.certificate();
    let certificates = certificates.parent().unwrap().display().to_string();
    // Beside it is its key, which would be shown.
    let own = world.path("certificates");
    std::fs::create_dir(&own).unwrap();
    std::fs::copy(format!("{certificates}/tls.crt"), own.join("ca.crt")).unwrap();
    world.loment(["import", "--cert-dir", &own.display().to_string(), &url, "localhost/a:1"]).succeeds();
    world.loment(["import", "--tls-verify=false", &url, "localhost/b:1"]).succeeds();
    let layers = |name: &str| world.inspect("{{.RootFS.Layers}}", name);
    assert_eq!(layers("localhost/a:1"), layers("localhost/b:1"));
    // What is typed is what is meant.
    let plainly = world.loment(["import", "--tls-verify=false", &plain]);
    assert_eq!(plainly.code, 125, "{plainly}");
}

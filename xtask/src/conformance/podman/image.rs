//! The image that the tests use, made here: theirs is in a registry, of Alpine Linux. What they look for in it is the same.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use loment_testkit::{Entry, Layer, RawLayer, digest};
use serde_json::json;

use crate::run::{output, succeed};

const DIRECTORIES: [&str; 17] = [
    "bin",
    "dev",
    "etc",
    "home",
    "home/podman",
    "mnt",
    "proc",
    "root",
    "run",
    "sbin",
    "srv",
    "sys",
    "usr",
    "usr/bin",
    "usr/sbin",
    "var",
    "var/tmp",
];
const FILES: [(&str, &str, u32); 9] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nbin:x:1:1:bin:/bin:/sbin/nologin\nmail:x:8:12:mail:/var/mail:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n",
        0o644,
    ),
    ("etc/group", "root:x:0:root\nbin:x:1:root,bin\nmail:x:12:mail\nnobody:x:65534:\n", 0o644),
    ("etc/shadow", "root:*::0:::::\n", 0o640),
    ("etc/os-release", "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.20.3\n", 0o644),
    ("etc/services", "http 80/tcp\n", 0o644),
    ("home/podman/testimage-id", "20241011\n", 0o644),
    (
        "home/podman/pause",
        "#!/bin/sh\ntrap 'exit 0' SIGTERM\necho Confirmed: testimage pause invoked as $0\nwhile :; do sleep 0.1; done\n",
        0o755,
    ),
    ("home/podman/healthcheck", HEALTHCHECK, 0o755),
    // Debian's busybox has none. A shell would add variables of its own.
    ("bin/printenv", PRINTENV, 0o755),
];
const PRINTENV: &str = r#"#!/usr/bin/awk -f
BEGIN {
    if (ARGC == 1) for (name in ENVIRON) print name "=" ENVIRON[name]
    for (n = 1; n < ARGC; n++) if (ARGV[n] in ENVIRON) print ENVIRON[ARGV[n]]; else missing = 1
    exit missing
}
"#;
/// A file can say that all is not well, always or once.
const HEALTHCHECK: &str = "#!/bin/sh
if [ -e /uh-oh ] || [ -e /uh-oh-only-once ]; then
    echo 'Uh-oh on stdout!'
    echo 'Uh-oh on stderr!' >&2
    rm -f /uh-oh-only-once
    exit 1
fi
echo 'Life is Good on stdout'
echo 'Life is Good on stderr' >&2
";
/// What a test looks for as the time of `testimage-id`, seconds since the epoch.
const MADE: u64 = 1_600_000_000;

/// Writes an archive with the image of that name.
pub(super) fn write(archive: &Path, name: &str) -> anyhow::Result<()> {
    let layer = layer()?;
    let step = |by: &str| json!({"created": "2024-10-11T10:00:00Z", "created_by": format!("/bin/sh -c #(nop) {by}"), "empty_layer": true});
    let config = json!({
        "architecture": "amd64", "os": "linux", "created": "2024-10-11T10:00:00.123456789Z",
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Cmd": ["/bin/echo", "This container is intended for podman CI testing"],
            "WorkingDir": "/home/podman",
            "Labels": {"created_at": "2024-10-11T10:00:00Z", "created_by": "test/system/build-testimage", "name": name},
        },
        "rootfs": {"type": "layers", "diff_ids": [digest(layer.bytes())]},
        "history": [
            {"created": "2024-09-06T22:20:07Z", "created_by": "/bin/sh -c #(nop) ADD file:5758b97d8301 in / "},
            step("LABEL created_by=test/system/build-testimage"),
            step("LABEL created_at=2024-10-11T10:00:00Z"),
            step("WORKDIR /home/podman"),
            step("CMD [\"/bin/echo\", \"This container is intended for podman CI testing\"]"),
        ],
    });
    let dir = tempfile::tempdir().context("make a directory")?;
    let put =
        |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).context("write an image");
    put("layer.tar", layer.bytes())?;
    put("config.json", config.to_string().as_bytes())?;
    let manifest = json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]);
    put("manifest.json", manifest.to_string().as_bytes())?;
    let mut tar = Command::new("tar");
    tar.arg("--create").arg("--file").arg(archive).arg("--directory").arg(dir.path());
    succeed(tar.args(["manifest.json", "config.json", "layer.tar"]))
}

fn layer() -> anyhow::Result<RawLayer> {
    let busybox = std::fs::read("/bin/busybox").context("read /bin/busybox")?;
    let mut layer = Layer::of(DIRECTORIES.map(Entry::dir)).with(Entry::dir(".").mode(0o555));
    layer = layer.with(Entry::dir("tmp").mode(0o1777));
    layer = layer.with(Entry::file("bin/busybox", busybox).mode(0o755));
    for (path, content, mode) in FILES {
        layer = layer.with(Entry::file(path, content).mode(mode).mtime(MADE));
    }
    let applets = output(Command::new("/bin/busybox").arg("--list-full"))?;
    let is_there = |path: &str| path == "bin/busybox" || FILES.iter().any(|(file, ..)| *file == path);
    for applet in applets.lines().filter(|applet| !is_there(applet)) {
        layer = layer.with(Entry::symlink(applet, "/bin/busybox"));
    }
    Ok(layer.into())
}

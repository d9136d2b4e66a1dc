//! Pulling from OCI layouts made here and by other tools. Needs root.
#![expect(clippy::print_stderr, reason = "a skipped test says why")]

#[expect(dead_code, reason = "uses its own part of what the tests share")]
mod common;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Condvar, Mutex};

use common::{
    DOCKER_GZIP, DOCKER_LIST, Fixture, GZIP, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, PLAIN, ZSTD, chain, config,
    digest_of, gzip, host, image, tar,
};
use loment_image::{Error, Fetched, LayerState, OciLayout, Options, Progress, Silent, Source, pull};
use loment_store::{Algorithm, Durability, ImageId, Limits, digest_of as digest_of_bytes, sha256};
use oci_spec::image::{Descriptor, Digest};

#[derive(Default)]
struct Recorder(Vec<String>);

impl Progress for Recorder {
    fn layers(&mut self, layers: &[Descriptor]) {
        self.0.push(format!("{} layers", layers.len()));
    }
    fn layer(&mut self, index: usize, layer: &Descriptor, state: LayerState) {
        match state {
            LayerState::Downloading { done } if done == layer.size() => {
                self.0.push(format!("{index} complete"))
            }
            LayerState::Downloading { .. } => {}
            state => self.0.push(format!("{index} {state:?}")),
        }
    }
}

#[test]
fn every_compression_and_format_is_pulled_once() {
    let fixture = Fixture::new();
    let tars: Vec<_> =
        ["plain", "gz", "zst", "wrong"].iter().map(|name| tar(name, name.as_bytes())).collect();
    let zstd = zstd::encode_all(&tars[2][..], 3).unwrap();
    let layers: [(&str, &[u8], &[u8]); 4] = [
        (PLAIN, &tars[0], &tars[0]),
        (GZIP, &gzip(&tars[1]), &tars[1]),
        (ZSTD, &zstd, &tars[2]),
        // Labels are often wrong; the bytes tell.
        (GZIP, &tars[3], &tars[3]),
    ];
    fixture.index(&[image(&fixture, &layers, false, &host())]);
    let mut recorder = Recorder::default();
    let pulled = fixture.pull_as("", &Options { parallel: 1, ..Options::default() }, &mut recorder).unwrap();
    assert_eq!(recorder.0[0], "4 layers");
    assert_eq!(recorder.0[1..3], ["0 complete", "0 Done"]);
    assert_eq!(pulled.fetched, 4);
    for name in ["plain", "gz", "zst", "wrong"] {
        assert_eq!(fixture.read(&pulled.image, name), name);
    }
    let record = fixture.store.image(&pulled.image).unwrap().unwrap();
    assert_eq!(record.created.as_deref(), Some("2024-01-02T03:04:05Z"));
    assert_eq!(record.size, tars.iter().map(|tar| tar.len() as u64).sum::<u64>());
    assert_eq!(fixture.store.resolve("localhost/test:latest").unwrap(), pulled.image);

    let mut recorder = Recorder::default();
    let again = fixture.pull_as("", &Options::default(), &mut recorder).unwrap();
    assert_eq!((again.image, again.fetched), (pulled.image.clone(), 0));
    assert_eq!(recorder.0.iter().filter(|line| line.ends_with("Exists")).count(), 4);
    let bytes = fixture.store.blob(pulled.image.digest()).unwrap();
    assert_eq!(loment_image::ImageConfig::parse(&bytes).unwrap().container.cmd, Some(vec!["sh".into()]));

    // The same layers in Docker's form, differently compressed: another manifest, nothing fetched.
    let docker: Vec<(&str, Vec<u8>, &[u8])> =
        tars.iter().map(|tar| (DOCKER_GZIP, gzip(tar), &tar[..])).collect();
    let docker: Vec<_> =
        docker.iter().map(|(media_type, blob, tar)| (*media_type, &blob[..], *tar)).collect();
    fixture.index(&[image(&fixture, &docker, true, &host())]);
    let docker = fixture.pull("").unwrap();
    assert_eq!((&docker.image, docker.fetched), (&pulled.image, 0));
    assert_eq!(fixture.store.image(&pulled.image).unwrap().unwrap().manifests.len(), 2);
}

#[test]
fn the_same_layer_twice_in_one_image_is_fetched_once() {
    let fixture = Fixture::new();
    let tar = tar("f", b"x");
    let blob = gzip(&tar);
    let layers: Vec<(&str, &[u8], &[u8])> = vec![(GZIP, &blob, &tar); 5];
    fixture.index(&[image(&fixture, &layers, false, &host())]);
    assert_eq!(fixture.pull("").unwrap().fetched, 1);
}

#[test]
fn an_index_gives_the_image_of_the_platform() {
    let fixture = Fixture::new();
    let with_platform = |descriptor: String, platform: &str| {
        let (os, architecture) = platform.split_once('/').unwrap();
        let platform = format!(r#","platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#);
        descriptor.trim_end_matches('}').to_owned() + &platform
    };
    let (mine, other) = (tar("f", b"mine"), tar("f", b"other"));
    let other_platform = "linux/s390x";
    let entries = [
        with_platform(image(&fixture, &[(PLAIN, b"{}", b"{}")], false, "unknown/unknown"), "unknown/unknown"),
        with_platform(image(&fixture, &[(PLAIN, &other, &other)], false, other_platform), other_platform),
        with_platform(image(&fixture, &[(PLAIN, &mine, &mine)], false, &host()), &host()),
    ];
    for media_type in [OCI_INDEX, DOCKER_LIST] {
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[{}]}}"#,
            entries.join(",")
        );
        fixture.index(&[fixture.blob(media_type, index.as_bytes())]);
        let pulled = fixture.pull("").unwrap();
        assert_eq!(fixture.read(&pulled.image, "f"), "mine");
        assert_eq!(
            (pulled.digest.clone(), pulled.manifest.to_string()),
            (sha256(index.as_bytes()), digest_of(&entries[2]))
        );
        assert!(fixture.store.blob(&pulled.digest).is_ok(), "the index is kept");
        let options = Options { platform: other_platform.parse().unwrap(), ..Options::default() };
        let pulled = fixture.pull_as("", &options, &mut Silent).unwrap();
        assert_eq!(fixture.read(&pulled.image, "f"), "other");
    }
    // By its id, whatever it is for.
    let wanted = fixture.pull_as(
        "",
        &Options { platform: other_platform.parse().unwrap(), ..Options::default() },
        &mut Silent,
    );
    let wanted = wanted.unwrap().image;
    let options = Options { image: Some(wanted.clone()), ..Options::default() };
    assert_eq!(fixture.pull_as("", &options, &mut Silent).unwrap().image, wanted);
    let nobodys = ImageId::try_from(sha256(b"nobody's")).unwrap();
    let options = Options { image: Some(nobodys), ..Options::default() };
    assert!(
        matches!(fixture.pull_as("", &options, &mut Silent), Err(error @ Error::NoMember { .. }) if error.is_absent())
    );
    // What one lists that cannot be read may be what is looked for.
    let lost = digest_of(&entries[0]);
    let bytes = fs::read(fixture.blob_path(&lost)).unwrap();
    fs::write(fixture.blob_path(&lost), bytes.to_ascii_uppercase()).unwrap();
    assert!(matches!(fixture.pull_as("", &options, &mut Silent), Err(error) if !error.is_absent()));
    let options = Options { platform: "linux/mips64".parse().unwrap(), ..Options::default() };
    let message = fixture.pull_as("", &options, &mut Silent).unwrap_err().to_string();
    let expected = format!(
        "no image for platform linux/mips64 in oci:{}, available: {other_platform}, {}",
        fixture.oci().display(),
        host()
    );
    assert_eq!(message, expected);
}

#[test]
fn a_single_image_of_another_platform_is_refused() {
    let fixture = Fixture::new();
    let tar = tar("f", b"x");
    fixture.index(&[image(&fixture, &[(PLAIN, &tar, &tar)], false, "linux/s390x")]);
    fixture.refused(&format!(
        "no image for platform {} in oci:{}, available: linux/s390x",
        host(),
        fixture.oci().display()
    ));
}

#[test]
fn wrong_bytes_anywhere_are_named_and_leave_nothing() {
    let tar_bytes = tar("f", &[b'x'; 100_000]);
    let blob = gzip(&tar_bytes);
    let make = || {
        let fixture = Fixture::new();
        let good = tar("g", b"good");
        let descriptor = image(&fixture, &[(PLAIN, &good, &good), (GZIP, &blob, &tar_bytes)], false, &host());
        fixture.index(std::slice::from_ref(&descriptor));
        (fixture, digest_of(&descriptor))
    };
    let layer = sha256(&blob).to_string();

    // Nothing but the digest tells, and a layer that is not compressed has one only.
    let (fixture, _) = make();
    let mut good = tar("g", b"good");
    let plain = sha256(&good).to_string();
    good[512] = b'f';
    fs::write(fixture.blob_path(&plain), good).unwrap();
    fixture.refused(&format!("layer {plain} has digest sha256:"));

    let (fixture, manifest) = make();
    let path = fixture.blob_path(&manifest);
    let text = fs::read_to_string(&path).unwrap() + " ";
    fs::write(&path, text).unwrap();
    let manifest = format!("manifest oci:{} has digest sha256:", fixture.oci().display());
    fixture.refused(&manifest);

    let (fixture, manifest) = make();
    let document: serde_json::Value =
        serde_json::from_slice(&fs::read(fixture.blob_path(&manifest)).unwrap()).unwrap();
    let config = document["config"]["digest"].as_str().unwrap();
    let text = fs::read_to_string(fixture.blob_path(config)).unwrap().replace("2024", "2025");
    fs::write(fixture.blob_path(config), text).unwrap();
    fixture.refused(&format!("configuration {config} has digest sha256:"));
    fs::write(fixture.blob_path(config), b"{}").unwrap();
    fixture.refused(&format!("configuration {config} is 2 bytes long, expected"));

    let (fixture, _) = make();
    fs::write(fixture.blob_path(&layer), &blob[..blob.len() - 9]).unwrap();
    fixture.refused(&format!("layer {layer}"));
    let mut longer = blob.clone();
    longer.push(0);
    fs::write(fixture.blob_path(&layer), longer).unwrap();
    fixture.refused(&format!("layer {layer}"));
    // A byte of gzip's header that decompressors ignore: only the digest tells.
    let mut changed = blob.clone();
    changed[4] ^= 1;
    fs::write(fixture.blob_path(&layer), changed).unwrap();
    fixture.refused(&format!("layer {layer} has digest sha256:"));
    fs::write(fixture.blob_path(&layer), vec![b'z'; blob.len()]).unwrap();
    fixture.refused(&format!("layer {layer} has digest sha256:"));
    let mut broken = blob.clone();
    let middle = broken.len() / 2;
    broken[middle..].fill(0xff);
    fs::write(fixture.blob_path(&layer), broken).unwrap();
    fixture.refused(&format!("layer {layer}"));
    fs::remove_file(fixture.blob_path(&layer)).unwrap();
    fixture.refused(&format!("{}: No such file", layer.trim_start_matches("sha256:")));
}

#[test]
fn layers_must_be_what_the_configuration_says() {
    let fixture = Fixture::new();
    let (tar_bytes, other) = (tar("f", b"x"), tar("f", b"y"));
    fixture.index(&[image(&fixture, &[(GZIP, &gzip(&tar_bytes), &other)], false, &host())]);
    let (found, expected) = (sha256(&tar_bytes), sha256(&other));
    fixture.refused(&format!("layer unpacks to {found}, but the image's configuration says {expected}"));

    // Also when the blob is known already.
    fixture.index(&[image(&fixture, &[(GZIP, &gzip(&tar_bytes), &tar_bytes)], false, &host())]);
    fixture.pull("").unwrap();
    fixture.index(&[image(&fixture, &[(GZIP, &gzip(&tar_bytes), &other)], false, &host())]);
    assert!(chain(&fixture.pull("").unwrap_err()).contains("layer unpacks to"));

    let fixture = Fixture::new();
    let config = fixture.blob(OCI_CONFIG, &config(&host(), &[]));
    let layer = fixture.blob(PLAIN, &tar_bytes);
    let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]}}"#);
    let manifest = fixture.blob(OCI_MANIFEST, manifest.as_bytes());
    fixture.index(std::slice::from_ref(&manifest));
    fixture.refused(&format!("manifest {} has 1 layers, its configuration has 0", digest_of(&manifest)));
}

#[test]
fn hostile_layers_are_refused_with_the_entry() {
    let fixture = Fixture::new();
    let mut hostile = tar("xx/evil", b"x");
    hostile[..2].copy_from_slice(b"..");
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes().copy_from_slice(&hostile[..512]);
    header.set_cksum();
    hostile[..512].copy_from_slice(header.as_bytes());
    fixture.index(&[image(&fixture, &[(GZIP, &gzip(&hostile), &hostile)], false, &host())]);
    fixture.refused("layer entry \"../evil\": path contains a \"..\" component");
}

#[test]
fn unsupported_things_are_refused_by_name() {
    let fixture = Fixture::new();
    let tar_bytes = tar("f", b"x");
    let xz = b"\xfd7zXZ\0 whatever";
    fixture.index(&[image(&fixture, &[(PLAIN, xz, &tar_bytes)], false, &host())]);
    fixture.refused(&format!("layer {} is compressed with xz, which is not supported", sha256(xz)));
    fixture.index(&[image(
        &fixture,
        &[("application/octet-stream", &tar_bytes, &tar_bytes)],
        false,
        &host(),
    )]);
    fixture.refused("has unsupported media type \"application/octet-stream\"");
    let schema1 = br#"{"schemaVersion":1,"name":"x","fsLayers":[]}"#;
    fixture.index(&[fixture.blob("application/vnd.docker.distribution.manifest.v1+json", schema1)]);
    fixture.refused("is malformed: missing field `history`");
    let mut inner = fixture.blob(OCI_INDEX, br#"{"schemaVersion":2,"manifests":[]}"#);
    for _ in 0..5 {
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{inner}]}}"#);
        inner = fixture.blob(OCI_INDEX, index.as_bytes());
    }
    fixture.index(&[inner]);
    fixture.refused("is nested too deep");
}

/// A source that sends without end.
struct Endless<'s>(&'s dyn Source);

impl Source for Endless<'_> {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn manifest(&self, digest: Option<&Digest>) -> Result<Fetched, Error> {
        self.0.manifest(digest)
    }
    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        let blob = self.0.blob(blob)?;
        Ok(Box::new(blob.chain(std::io::repeat(0))))
    }
}

/// A source that promises another digest than what it delivers has.
struct Liar<'s>(&'s dyn Source);

impl Source for Liar<'_> {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn manifest(&self, digest: Option<&Digest>) -> Result<Fetched, Error> {
        Ok(Fetched { digest: Some(sha256(b"other")), ..self.0.manifest(digest)? })
    }
    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        self.0.blob(blob)
    }
}

#[test]
fn a_source_cannot_send_more_than_it_announced() {
    let fixture = Fixture::new();
    let tar_bytes = tar("f", b"x");
    fixture.index(&[image(&fixture, &[(PLAIN, &tar_bytes, &tar_bytes)], false, &host())]);
    let layout = OciLayout::open(&fixture.oci(), None, "").unwrap();
    let error = pull(&Endless(&layout), &fixture.store, None, &Options::default(), &mut Silent).unwrap_err();
    assert!(chain(&error).contains("bytes long, expected"), "{}", chain(&error));
}

#[test]
fn a_digest_asked_for_must_be_the_one_delivered() {
    let fixture = Fixture::new();
    let tar_bytes = tar("f", b"x");
    fixture.index(&[image(&fixture, &[(PLAIN, &tar_bytes, &tar_bytes)], false, &host())]);
    let layout = OciLayout::open(&fixture.oci(), None, "").unwrap();
    let error = pull(&Liar(&layout), &fixture.store, None, &Options::default(), &mut Silent).unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");
}

#[test]
fn layouts_name_their_images() {
    let fixture = Fixture::new();
    let named = |descriptor: String, name: &str| {
        let annotation = format!(r#","annotations":{{"org.opencontainers.image.ref.name":"{name}"}}}}"#);
        descriptor.trim_end_matches('}').to_owned() + &annotation
    };
    let (one, two) = (tar("f", b"one"), tar("f", b"two"));
    let entries = [
        named(image(&fixture, &[(PLAIN, &one, &one)], false, &host()), "one"),
        named(image(&fixture, &[(PLAIN, &two, &two)], false, &host()), "two"),
    ];
    fixture.index(&entries);
    assert_eq!(fixture.read(&fixture.pull("two").unwrap().image, "f"), "two");
    assert_eq!(fixture.read(&fixture.pull("@0").unwrap().image, "f"), "one");
    assert_eq!(fixture.read(&fixture.pull(&digest_of(&entries[1])).unwrap().image, "f"), "two");
    assert!(fixture.pull("").unwrap_err().to_string().contains("holds 2 images: choose one by its name"));
    for missing in ["three", "@2", "@x"] {
        let message = fixture.pull(missing).unwrap_err().to_string();
        assert_eq!(message, format!("{}: no image {missing:?} in the index", fixture.oci().display()));
    }
}

#[test]
fn two_pulls_at_once_fetch_every_layer_once() {
    let fixture = Fixture::new();
    let tars: Vec<_> = (0..6).map(|n| tar("f", &vec![n; 300_000])).collect();
    let layers: Vec<(&str, &[u8], &[u8])> = tars.iter().map(|tar| (PLAIN, &tar[..], &tar[..])).collect();
    fixture.index(&[image(&fixture, &layers, false, &host())]);
    let fetched: usize = std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..3).map(|_| scope.spawn(|| fixture.pull("").unwrap().fetched)).collect();
        pulls.into_iter().map(|pull| pull.join().unwrap()).sum()
    });
    assert_eq!(fetched, 6);
}

fn run(program: &str, arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Option<String> {
    let output = Command::new(program).args(arguments.iter().map(|argument| argument.as_ref())).output();
    let output = output.map_err(|error| eprintln!("skipped: {program} is not installed ({error})")).ok()?;
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Makes a two-layer image of busybox with umoci; `None` when a tool is missing.
fn busybox_layout(dir: &Path) -> Option<PathBuf> {
    let (layout, bundle) = (dir.join("umoci"), dir.join("bundle"));
    let image = format!("{}:latest", layout.display());
    run("umoci", &[&"init", &"--layout", &layout])?;
    run("umoci", &[&"new", &"--image", &image])?;
    run("umoci", &[&"unpack", &"--image", &image, &bundle])?;
    let rootfs = bundle.join("rootfs");
    fs::create_dir_all(rootfs.join("bin")).unwrap();
    let busybox = "/bin/busybox";
    if !Path::new(busybox).exists() {
        eprintln!("skipped: {busybox} is not installed");
        return None;
    }
    fs::copy(busybox, rootfs.join("bin/busybox")).unwrap();
    for name in ["sh", "true", "gone"] {
        std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(name)).unwrap();
    }
    fs::create_dir(rootfs.join("dir")).unwrap();
    fs::write(rootfs.join("dir/old"), "old").unwrap();
    run("umoci", &[&"repack", &"--refresh-bundle", &"--image", &image, &bundle])?;
    fs::remove_file(rootfs.join("bin/gone")).unwrap();
    fs::remove_dir_all(rootfs.join("dir")).unwrap();
    fs::write(rootfs.join("new"), "new").unwrap();
    run("umoci", &[&"repack", &"--image", &image, &bundle])?;
    run("umoci", &[&"config", &"--image", &image, &"--config.cmd", &"/bin/sh"])?;
    Some(layout)
}

#[test]
fn images_of_other_tools_are_pulled_and_run_from_an_overlay() {
    let fixture = Fixture::new();
    let Some(layout) = busybox_layout(fixture.dir.path()) else { return };
    // skopeo compresses again, so the same image comes in several forms.
    let mut images = vec![(layout.clone(), "latest")];
    for (name, arguments) in
        [("zstd", vec!["--dest-compress-format", "zstd"]), ("plain", vec!["--dest-decompress"])]
    {
        let target = fixture.dir.path().join(name);
        let (from, to) =
            (format!("oci:{}:latest", layout.display()), format!("oci:{}:latest", target.display()));
        let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"copy", &"--insecure-policy"];
        all.extend(arguments.iter().map(|argument| argument as &dyn AsRef<std::ffi::OsStr>));
        all.extend([&from as &dyn AsRef<std::ffi::OsStr>, &to]);
        if run("skopeo", &all).is_none() {
            return;
        }
        images.push((target, "latest"));
    }
    let mut ids = Vec::new();
    for (dir, reference) in images {
        let source = OciLayout::open(&dir, None, reference).unwrap();
        let pulled =
            pull(&source, &fixture.store, Some("localhost/bb:1"), &Options::default(), &mut Silent).unwrap();
        ids.push(pulled.image);
    }
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
    let record = fixture.store.image(&ids[0]).unwrap().unwrap();
    for layer in fixture.store.layers_of(&record).unwrap() {
        layer.verify().unwrap();
        assert!(!layer.blobs().is_empty());
    }
    let rootfs =
        fixture.store.create_rootfs("ctr", &ids[0], Durability::None, Limits::default(), None).unwrap();
    let merged = fixture.dir.path().join("merged");
    fs::create_dir(&merged).unwrap();
    let lower: Vec<_> =
        rootfs.lower.iter().map(|l| l.clone().directory().unwrap().display().to_string()).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.join(":"),
        rootfs.upper.display(),
        rootfs.work.display()
    );
    let script = r#"mount -t overlay overlay -o "$1" "$2" && chroot "$2" /bin/sh -c 'echo *; /bin/busybox ls bin; echo x > new'"#;
    let shown = run(
        "unshare",
        &[&"-m", &"--propagation", &"private", &"sh", &"-c", &script, &"sh", &options, &merged],
    );
    assert_eq!(shown.unwrap(), "bin new\nbusybox\nsh\ntrue\n");
    assert_eq!(fs::read_to_string(rootfs.upper.join("new")).unwrap(), "x\n");
}

#[test]
fn all_of_an_image_may_have_digests_of_sha512() {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.oci().join("blobs/sha512")).unwrap();
    let blob = |media_type: &str, bytes: &[u8]| {
        let digest = digest_of_bytes(Algorithm::Sha512, bytes);
        fs::write(fixture.oci().join("blobs/sha512").join(digest.digest()), bytes).unwrap();
        format!(r#"{{"mediaType":"{media_type}","size":{},"digest":"{digest}"}}"#, bytes.len())
    };
    let layer = tar("name", b"content");
    let config = blob(OCI_CONFIG, &config(&host(), &[sha256(&layer)]));
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{config},"layers":[{}]}}"#,
        blob(GZIP, &gzip(&layer))
    );
    fixture.index(&[blob(OCI_MANIFEST, manifest.as_bytes())]);
    let pulled = fixture.pull("").unwrap();
    assert_eq!(pulled.image.hex().len(), 128);
    assert_eq!(fixture.read(&pulled.image, "name"), "content");
    assert_eq!(fixture.store.resolve(&pulled.image.hex()[..12]).unwrap(), pulled.image);
    assert_eq!(fixture.store.images().unwrap().len(), 1);
    assert_eq!(fixture.store.gc().unwrap().layers, 0);
    assert!(fixture.store.check(false).unwrap().damages.is_empty());
    fixture.store.remove_image(&pulled.image, true).unwrap();
    assert_eq!(fixture.store.gc().unwrap().layers, 1);
}

#[test]
fn a_pull_that_fails_does_not_wait_for_another_of_the_same_layer() {
    let fixture = Fixture::new();
    let tars = [tar("a", b"this is a"), tar("b", b"this is b")];
    let blobs = tars.each_ref().map(|tar| gzip(tar));
    let layers = [(GZIP, &blobs[0][..], &tars[0][..]), (GZIP, &blobs[1][..], &tars[1][..])];
    fixture.index(&[image(&fixture, &layers, false, &host())]);
    // Another process is at the second one, and the first one is damaged.
    let other = fixture.store.lease().unwrap();
    let _slot = other.claim_layer(&sha256(&blobs[1]), None, || true).unwrap();
    let mut bad = blobs[0].clone();
    bad[5] ^= 1;
    fs::write(fixture.blob_path(sha256(&blobs[0]).as_ref()), bad).unwrap();
    let message = chain(&fixture.pull("").unwrap_err());
    assert!(message.contains(sha256(&blobs[0]).as_ref()) && !message.contains("cancelled"), "{message}");
}

/// A source with one damaged blob, whose others do not come until it is cancelled.
struct Stalled<'s> {
    inner: &'s dyn Source,
    damaged: Digest,
    cancelled: (Mutex<bool>, Condvar),
}

impl Source for Stalled<'_> {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn manifest(&self, digest: Option<&Digest>) -> Result<Fetched, Error> {
        self.inner.manifest(digest)
    }
    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        if *blob.digest() == self.damaged {
            return Ok(Box::new(std::io::repeat(1)));
        }
        if blob.media_type().to_string() == GZIP {
            let (cancelled, told) = &self.cancelled;
            drop(told.wait_while(cancelled.lock().unwrap(), |cancelled| !*cancelled).unwrap());
            return Err(loment_registry::Error::Cancelled.into());
        }
        self.inner.blob(blob)
    }
    fn cancel(&self) {
        *self.cancelled.0.lock().unwrap() = true;
        self.cancelled.1.notify_all();
    }
}

#[test]
fn a_pull_that_fails_ends_what_its_source_waits_for() {
    let fixture = Fixture::new();
    let tars = ["a", "b", "c"].map(|name| tar(name, name.as_bytes()));
    let blobs = tars.each_ref().map(|tar| gzip(tar));
    let layers: Vec<_> = blobs.iter().zip(&tars).map(|(blob, tar)| (GZIP, &blob[..], &tar[..])).collect();
    fixture.index(&[image(&fixture, &layers, false, &host())]);
    let layout = OciLayout::open(&fixture.oci(), None, "").unwrap();
    let damaged = sha256(&blobs[1]);
    let source = Stalled { inner: &layout, damaged: damaged.clone(), cancelled: Default::default() };
    let error = pull(&source, &fixture.store, None, &Options::default(), &mut Silent).unwrap_err();
    let message = chain(&error);
    assert!(message.contains(damaged.as_ref()) && !message.contains("cancelled"), "{message}");
}

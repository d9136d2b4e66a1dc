//! Life of layers, images, names and containers, and what is left when makers die. Needs root.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{Fixture, Tar, chain, item, open};
use loment_store::{
    Claim, DiffId, Durability, Error, HashingSource, ImageId, ImagePlatform, ImageRecord, IndexName,
    LayerBlob, Lease, Limits, Lower, Origin, Store, sha256,
};

fn layer_tar(text: &str) -> Vec<u8> {
    Tar::new().file("file", text.as_bytes()).end()
}

fn blob(bytes: &[u8]) -> LayerBlob {
    LayerBlob {
        digest: sha256(bytes),
        size: bytes.len() as u64,
        media_type: "application/test".into(),
        sent_to: Vec::new(),
    }
}

/// An image of layers each holding one file.
fn image(lease: &Lease, config: &str, layers: &[&str]) -> ImageRecord {
    let mut diff_ids = Vec::new();
    for text in layers {
        let tar = layer_tar(text);
        let staged = lease.unpack_layer(HashingSource::new(&tar[..])).unwrap();
        diff_ids.push(staged.commit(None, Some(blob(text.as_bytes()))).unwrap().diff_id().clone());
    }
    let manifest = format!("manifest of {config}");
    lease.put_blob(&sha256(config.as_bytes()), config.as_bytes()).unwrap();
    lease.put_blob(&sha256(manifest.as_bytes()), manifest.as_bytes()).unwrap();
    let record = ImageRecord {
        id: ImageId::try_from(sha256(config.as_bytes())).unwrap(),
        manifests: vec![sha256(manifest.as_bytes())],
        layers: diff_ids,
        platform: ImagePlatform { os: "linux".into(), architecture: "amd64".into(), variant: None },
        created: None,
        size: 1,
        pulled: 2,
        names_history: Vec::new(),
    };
    lease.commit_image(&record).unwrap();
    record
}

fn layers_left(fixture: &Fixture) -> usize {
    fs::read_dir(fixture.store.root().join("layers")).unwrap().count()
}

#[test]
fn a_listed_image_that_says_odd_things_does_not_keep_the_store_from_being_swept() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let lease = store.lease().unwrap();
    let kept = image(&lease, "kept", &["a"]);
    let layer = kept.layers[0].digest();
    let put = |text: &str| {
        lease.put_blob(&sha256(text.as_bytes()), text.as_bytes()).unwrap();
        sha256(text.as_bytes())
    };
    // What no image needs is nobody's business, and was not looked at when it came.
    let odd = put(&format!(r#"{{"manifests": 5, "config": "x", "rootfs": {{"diff_ids": ["{layer}"]}}}}"#));
    let config = |manifests: &str| put(&format!(r#"{{{manifests} "config": {{"digest": "{odd}"}}}}"#));
    let one = config(r#""rootfs": {"diff_ids": ["sha512:aa", 1]}, "#);
    let index = put(&format!(r#"{{"manifests": [{{"digest": "{one}"}}, {{"digest": "none"}}, {{}}]}}"#));
    let name = IndexName { name: "h.x/list:1".into(), index, created: None, sources: BTreeMap::new() };
    store.tag_index(&name, None).unwrap();
    store.remove_image(&kept.id, true).unwrap();
    drop(lease);
    store.gc().unwrap();
    assert_eq!(layers_left(&fixture), 1, "the list keeps it");
    for digest in [&odd, &one] {
        store.blob(digest).unwrap();
    }
    store.untag_index("h.x/list:1", None).unwrap();
    store.gc().unwrap();
    assert_eq!(layers_left(&fixture), 0);
}

#[test]
fn a_name_given_at_the_last_moment_keeps_an_image() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let lease = store.lease().unwrap();
    let (kept, gone) = (image(&lease, "kept", &["a"]), image(&lease, "gone", &["b"]));
    // Both had no name when somebody looked.
    store.tag("registry.example/kept:1", &kept.id, None).unwrap();
    assert!(!store.remove_nameless_image(&kept.id).unwrap());
    assert!(store.remove_nameless_image(&gone.id).unwrap());
    assert!(!store.remove_nameless_image(&gone.id).unwrap());
    assert_eq!(store.resolve("registry.example/kept:1").unwrap(), kept.id);
    assert!(store.image(&gone.id).unwrap().is_none());
}

#[test]
fn images_are_named_found_and_removed() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let lease = store.lease().unwrap();
    let (one, two) = (image(&lease, "one", &["a", "b"]), image(&lease, "two", &["a", "c"]));
    let long = format!("registry.example:5000/{}:latest", "long/".repeat(60));
    store.tag("localhost/one:latest", &one.id, Some(&one.manifests[0])).unwrap();
    store.tag("127.0.0.1:5000/a%b/one:x", &one.id, None).unwrap();
    store.tag(&long, &two.id, None).unwrap();
    drop(lease);

    assert_eq!(store.resolve("localhost/one:latest").unwrap(), one.id);
    assert_eq!(store.resolve(&long).unwrap(), two.id);
    assert_eq!(store.name(&long).unwrap().unwrap().name, long);
    assert_eq!(store.resolve(one.id.hex()).unwrap(), one.id);
    assert_eq!(store.resolve(&one.id.to_string()).unwrap(), one.id);
    assert_eq!(store.resolve(&one.id.hex()[..12]).unwrap(), one.id);
    for unknown in ["nope", "localhost/one", "", "sha256:", "ffffffffffff", &"0".repeat(64), "../images/x"] {
        assert_eq!(store.resolve(unknown).unwrap_err().to_string(), format!("{unknown}: image not known"));
    }
    let images = store.images().unwrap();
    assert_eq!(images.len(), 2);
    let first = images.iter().find(|known| known.image.id == one.id).unwrap();
    assert_eq!(first.image.names_history, ["127.0.0.1:5000/a%b/one:x", "localhost/one:latest"]);
    let names: Vec<_> = first.names.iter().map(|name| name.name.as_str()).collect();
    assert_eq!(names, ["127.0.0.1:5000/a%b/one:x", "localhost/one:latest"]);
    assert_eq!(first.names[1].manifest, Some(one.manifests[0].clone()));

    assert!(matches!(store.remove_image(&one.id, false), Err(Error::SeveralNames { .. })));
    assert_eq!(store.remove_image(&one.id, true).unwrap().len(), 2);
    assert!(store.image(&one.id).unwrap().is_none() && store.images().unwrap().len() == 1);
    let freed = store.gc().unwrap();
    assert_eq!((freed.layers, freed.blobs), (1, 2), "layer a is shared");
    assert_eq!(store.untag(&long, None).unwrap().unwrap().image, two.id);
    assert_eq!(store.untag(&long, None).unwrap(), None);
    assert_eq!(store.gc().unwrap().layers, 0, "an image without a name stays");
    store.remove_image(&two.id, false).unwrap();
    assert_eq!(store.gc().unwrap().layers, 2);
    assert_eq!(fixture.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn a_name_that_was_moved_is_not_taken_from_its_new_image() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let lease = store.lease().unwrap();
    let (one, two) = (image(&lease, "one", &["a"]), image(&lease, "two", &["a"]));
    assert_eq!(store.tag("x", &one.id, None).unwrap(), None);
    assert_eq!(store.tag("x", &two.id, None).unwrap().unwrap().image, one.id);
    // Somebody who still takes it for the first image's.
    assert_eq!(store.untag("x", Some(&one.id)).unwrap(), None);
    assert_eq!(store.resolve("x").unwrap(), two.id);
    // Two removals and a tag at the same time, again and again: what was said to be removed is, and nothing else.
    for _ in 0..50 {
        store.tag("y", &one.id, None).unwrap();
        let (mine, theirs) = std::thread::scope(|scope| {
            let mine = scope.spawn(|| store.untag("y", Some(&one.id)).unwrap());
            let theirs = scope.spawn(|| store.tag("y", &two.id, None).unwrap());
            (mine.join().unwrap(), theirs.join().unwrap())
        });
        assert_eq!(mine.is_none(), theirs.is_some(), "the first image lost the name once");
        assert_eq!(store.resolve("y").unwrap(), two.id);
    }
}

#[test]
fn all_names_of_an_image_are_found_however_many_it_has_and_when_its_record_is_damaged() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let lease = store.lease().unwrap();
    let record = image(&lease, "one", &["a"]);
    let names_of = || store.names_of(&record.id).unwrap().len();
    (0..3).for_each(|n| drop(store.tag(&format!("localhost/one:{n}"), &record.id, None).unwrap()));
    store.untag("localhost/one:1", None).unwrap();
    assert_eq!(names_of(), 2);

    let file = store.root().join(format!("images/{}.json", record.id.hex()));
    fs::write(&file, "{").unwrap();
    assert_eq!(names_of(), 2);
    lease.commit_image(&record).unwrap();
    assert_eq!(names_of(), 2);
    fs::remove_file(&file).unwrap();
    lease.commit_image(&record).unwrap();
    assert_eq!(names_of(), 2);

    (0..300).for_each(|n| drop(store.tag(&format!("localhost/one:{n}"), &record.id, None).unwrap()));
    assert_eq!(names_of(), 300);
    assert_eq!(store.remove_image(&record.id, true).unwrap().len(), 300);
}

#[test]
fn prefixes_must_mean_one_image() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    for n in 0..17 {
        image(&lease, &n.to_string(), &["a"]);
    }
    let ids: Vec<_> = fixture.store.images().unwrap().into_iter().map(|known| known.image.id).collect();
    let shared =
        ids.iter().find(|a| ids.iter().filter(|b| a.hex()[..1] == b.hex()[..1]).count() > 1).unwrap();
    assert!(matches!(fixture.store.resolve(&shared.hex()[..1]), Err(Error::Ambiguous { .. })));
}

#[test]
fn an_image_pulled_again_keeps_all_its_manifests() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let mut record = image(&lease, "one", &["a"]);
    lease.put_blob(&sha256(b"docker"), b"docker").unwrap();
    record.manifests = vec![sha256(b"docker")];
    lease.commit_image(&record).unwrap();
    let known = fixture.store.image(&record.id).unwrap().unwrap();
    assert_eq!(known.manifests, [sha256(b"manifest of one"), sha256(b"docker")]);
}

#[test]
fn an_image_without_its_parts_is_not_made() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let mut record = image(&lease, "one", &["a"]);
    record.layers.push(DiffId::try_from(sha256(b"missing")).unwrap());
    assert!(matches!(lease.commit_image(&record), Err(Error::LayerMissing { .. })));
    record.layers.pop();
    record.manifests = vec![sha256(b"missing")];
    assert!(matches!(lease.commit_image(&record), Err(Error::BlobMissing { .. })));
    assert!(matches!(
        fixture.store.tag("x", &ImageId::try_from(sha256(b"no")).unwrap(), None),
        Err(Error::ImageNotKnown { .. })
    ));
}

#[test]
fn blobs_are_checked_both_ways() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    assert!(matches!(lease.put_blob(&sha256(b"x"), b"y"), Err(Error::Digest { .. })));
    assert!(matches!(lease.put_blob(&"md5:00".parse().unwrap(), b"y"), Err(Error::Algorithm { .. })));
    let digest = loment_store::digest_of(loment_store::Algorithm::Sha512, b"y");
    lease.put_blob(&digest, b"y").unwrap();
    assert_eq!(fixture.store.blob(&digest).unwrap(), b"y");
    let path = fixture.store.root().join("blobs/sha512").join(&digest.digest()[..2]).join(digest.digest());
    fs::write(path, b"z").unwrap();
    assert!(matches!(fixture.store.blob(&digest), Err(Error::Digest { .. })));
    assert!(matches!(fixture.store.blob(&sha256(b"n")), Err(Error::BlobMissing { .. })));
}

#[test]
fn a_layer_must_be_the_one_expected() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let tar = layer_tar("a");
    let staged = lease.unpack_layer(HashingSource::new(&tar[..])).unwrap();
    let expected = DiffId::try_from(sha256(b"other")).unwrap();
    assert!(matches!(staged.commit(Some(&expected), None), Err(Error::DiffId { .. })));
    drop(lease);
    assert_eq!(fixture.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn two_blobs_of_one_layer_share_it() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let tar = layer_tar("a");
    for compressed in [b"gzip", b"zstd"] {
        let Claim::Missing(slot) =
            lease.claim_layer(&blob(compressed).digest, None, || true).unwrap().unwrap()
        else {
            panic!("present")
        };
        slot.unpack(HashingSource::new(&tar[..])).unwrap().commit(None, Some(blob(compressed))).unwrap();
        assert!(matches!(
            lease.claim_layer(&blob(compressed).digest, None, || true).unwrap().unwrap(),
            Claim::Present(_)
        ));
    }
    assert_eq!(layers_left(&fixture), 1);
    let layer = fixture.store.layer_by_blob(&sha256(b"zstd")).unwrap().unwrap();
    assert_eq!(layer.blobs(), [blob(b"gzip"), blob(b"zstd")]);
}

#[test]
fn a_sweep_spares_what_live_leases_and_containers_use() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let lease = store.lease().unwrap();
    let record = image(&lease, "one", &["a", "b"]);
    store.create_rootfs("ctr", &record.id, Durability::None, Limits::default(), None).unwrap();
    store.remove_image(&record.id, true).unwrap();
    let tar = layer_tar("unreferenced");
    lease.unpack_layer(HashingSource::new(&tar[..])).unwrap().commit(None, None).unwrap();
    assert_eq!(store.gc().unwrap(), loment_store::Freed::default());
    drop(lease);
    assert_eq!(store.gc().unwrap().layers, 1);
    assert_eq!(store.rootfs("ctr").unwrap().unwrap().lower.len(), 2);
    store.remove_container("ctr").unwrap();
    store.remove_container("ctr").unwrap();
    assert_eq!(store.gc().unwrap().layers, 2);
    assert_eq!(fixture.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn a_sweep_stops_at_what_it_cannot_read() {
    let fixture = Fixture::new();
    let record = image(&fixture.store.lease().unwrap(), "one", &["a"]);
    let path = fixture.store.root().join("images").join(format!("{}.json", record.id.hex()));
    fs::write(&path, b"{").unwrap();
    let message = fixture.store.gc().unwrap_err().to_string();
    assert_eq!(message, format!("{} is corrupt: `loment system check --repair` mends it", path.display()));
    assert_eq!(layers_left(&fixture), 1);
}

#[test]
fn the_writable_layer_shows_the_roots_attributes() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let mut record = image(&lease, "one", &["a"]);
    let with_root = Tar::new().put(item(b'5', b"./").mode(0o750).owner(1, 2), b"").end();
    let opaque = Tar::new().file(".wh..wh..opq", b"").end();
    for tar in [&with_root, &opaque] {
        let layer = lease.unpack_layer(HashingSource::new(&tar[..])).unwrap().commit(None, None).unwrap();
        record.layers.push(layer.diff_id().clone());
    }
    lease.commit_image(&record).unwrap();
    let rootfs =
        fixture.store.create_rootfs("ctr", &record.id, Durability::None, Limits::default(), None).unwrap();
    let upper = rootfs.upper.metadata().unwrap();
    assert_eq!((upper.mode() & 0o7777, upper.uid(), upper.gid()), (0o750, 1, 2));
    assert_eq!(rootfs.lower.len(), 1, "nothing shows through an opaque root");
    assert_eq!(fixture.store.lower(&record).unwrap(), rootfs.lower);
    assert_eq!(fixture.store.rootfs("ctr").unwrap().unwrap(), rootfs);
    for id in ["", ".", "..", "../x", "a/b", "-x", ".x"] {
        assert!(
            matches!(
                fixture.store.create_rootfs(id, &record.id, Durability::None, Limits::default(), None),
                Err(Error::ContainerId { .. })
            ),
            "{id:?}"
        );
    }
}

#[test]
fn a_layer_that_an_image_has_twice_is_mounted_once() {
    let fixture = Fixture::new();
    let record = image(&fixture.store.lease().unwrap(), "one", &["a", "b", "a"]);
    let rootfs =
        fixture.store.create_rootfs("ctr", &record.id, Durability::None, Limits::default(), None).unwrap();
    let lower = |layer: &DiffId| fixture.store.layer(layer).unwrap().unwrap().lower();
    assert_eq!(rootfs.lower, [lower(&record.layers[2]), lower(&record.layers[1])]);
}

#[test]
fn damage_to_a_layer_is_found() {
    for damage in 0..3 {
        let fixture = Fixture::new();
        let layer = fixture.unpack(&layer_tar("content")).unwrap();
        layer.verify().unwrap();
        if let Lower::Erofs { file, .. } = layer.lower() {
            damage_image(&file, damage);
            assert!(matches!(layer.verify(), Err(Error::CorruptLayer { .. })), "{damage}");
            continue;
        }
        let file = layer.fs().join("file");
        match damage {
            0 => fs::write(&file, b"CONTENT").unwrap(),
            1 => fs::write(&file, b"").unwrap(),
            _ => {
                fs::remove_file(&file).unwrap();
                std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
            }
        }
        assert!(matches!(layer.verify(), Err(Error::CorruptLayer { .. })));
    }
}

/// Changes content, the file's length, or what only the kernel would read.
fn damage_image(file: &Path, damage: usize) {
    let mut bytes = fs::read(file).unwrap();
    match damage {
        0 => {
            let at = bytes.windows(7).position(|part| part == b"content").unwrap();
            bytes[at] = b'C';
        }
        1 => bytes.truncate(4096),
        _ => bytes[1152 + 44] ^= 1, // the root's number of links
    }
    fs::write(file, bytes).unwrap();
}

#[test]
fn stores_of_newer_loments_are_refused() {
    let fixture = Fixture::new();
    let path = fixture.store.root().join("FORMAT");
    fs::write(&path, br#"{"version":1,"compat":["nice"]}"#).unwrap();
    open(fixture.dir.path());
    fs::write(&path, br#"{"version":1,"incompat":["shiny"]}"#).unwrap();
    let open = Store::open(fixture.store.root(), fixture.store.runroot(), Durability::Full);
    let expected = format!(
        "store {} uses features this loment does not know (shiny), use a newer loment",
        fixture.store.root().display()
    );
    assert_eq!(open.unwrap_err().to_string(), expected);
}

#[test]
fn what_another_program_keeps_is_never_written_to() {
    for (sign, owner) in
        [("storage.lock", "Podman"), ("overlay-layers/layers.json", "Podman"), ("engine-id", "Docker")]
    {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let file = root.join(sign);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "").unwrap();
        let refused = Store::open(&root, &dir.path().join("run"), Durability::Full).unwrap_err().to_string();
        let expected = format!("{} is where {owner}", root.display());
        assert!(refused.starts_with(&expected) && refused.ends_with("choose another directory"), "{refused}");
        assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
    }
}

#[test]
fn full_durability_gives_the_same_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("root"), &dir.path().join("run"), Durability::Full).unwrap();
    let record = image(&store.lease().unwrap(), "one", &["a", "b"]);
    store.tag("name", &record.id, None).unwrap();
    assert_eq!(store.resolve("name").unwrap(), record.id);
}

/// Runs one of the ignored tests below in a process of its own, in its own mount namespace.
fn helper(test: &str, dir: &Path, script: &str) -> Child {
    // In tests/erofs.rs this file is a module.
    let test = module_path!().split_once("::").map_or(test.to_owned(), |(_, file)| format!("{file}::{test}"));
    Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-ec", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--ignored", "--nocapture"])
        .env("STORE", dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_killed_puller_leaves_nothing_that_stays() {
    let fixture = Fixture::new();
    let mut child = helper("helper_unpacks_stdin", fixture.dir.path(), r#"exec "$@""#);
    let mut stdin = child.stdin.take().unwrap();
    let tar = Tar::new().file("a", &[1; 300_000]).0;
    stdin.write_all(&tar).unwrap();
    // Wait until the file is there, so the kill falls into the middle.
    let staging = fixture.store.root().join("staging");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let begun = |found: &[u8]| found.ends_with(b"/fs/a\n") || found.ends_with(b"/layer.erofs\n");
    while !begun(
        &Command::new("find")
            .arg(&staging)
            .args(["-name", "a", "-o", "-name", "*.erofs"])
            .output()
            .unwrap()
            .stdout,
    ) {
        assert!(std::time::Instant::now() < deadline, "nothing was unpacked");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(layers_left(&fixture), 0);
    assert_eq!(fixture.leftovers().len(), 2, "a lease and its staging directory");
    drop(fixture.store.lease().unwrap());
    assert_eq!(fixture.leftovers(), Vec::<PathBuf>::new(), "the next lease sweeps");
}

#[test]
#[ignore = "run by a_killed_puller_leaves_nothing_that_stays"]
fn helper_unpacks_stdin() {
    let store = open(Path::new(&std::env::var_os("STORE").unwrap()));
    let lease = store.lease().unwrap();
    let _ = lease.unpack_layer(HashingSource::new(std::io::stdin()));
}

#[test]
fn a_full_disk_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=2m tmpfs "$STORE"; exec "$@""#;
    let output = helper("helper_fills_the_disk", dir.path(), script).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the helper was found");
}

#[test]
#[ignore = "run by a_full_disk_leaves_nothing"]
fn helper_fills_the_disk() {
    let dir = PathBuf::from(std::env::var_os("STORE").unwrap());
    let store = open(&dir);
    let used = || rustix::fs::statvfs(&dir).unwrap().f_bfree;
    let free = used();
    let big = Tar::new().file("small", b"x").file("big", &vec![1; 4 << 20]).end();
    let error = store.lease().unwrap().unpack_layer(HashingSource::new(&big[..])).unwrap_err();
    assert_eq!(chain(&error), "layer entry \"big\": cannot write: No space left on device (os error 28)");
    assert_eq!(used(), free, "everything was given back");
    let tar = layer_tar("still works");
    store.lease().unwrap().unpack_layer(HashingSource::new(&tar[..])).unwrap().commit(None, None).unwrap();
    let blob = vec![0; 4 << 20];
    let message = chain(&store.lease().unwrap().put_blob(&sha256(&blob), &blob).unwrap_err());
    assert!(message.contains("No space left on device"), "{message}");
    assert!(fs::read_dir(dir.join("root/staging")).unwrap().next().is_none());
}

#[test]
fn a_container_has_a_lowest_layer_with_what_things_are_mounted_on() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let record = image(&lease, "one", &["a"]);
    let rootfs =
        fixture.store.create_rootfs("ctr", &record.id, Durability::None, Limits::default(), None).unwrap();
    for (path, mode) in [("", 0o755), ("proc", 0o755), ("etc", 0o755), ("etc/hosts", 0o644)] {
        let made = fs::metadata(rootfs.skeleton.join(path)).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&made.permissions()) & 0o7777, mode, "{path}");
    }
    // It is made again when somebody has removed it, and stays when the container goes.
    fs::remove_dir_all(&rootfs.skeleton).unwrap();
    let again = fixture.store.rootfs("ctr").unwrap().unwrap();
    assert_eq!(again, rootfs);
    fixture.store.remove_container("ctr").unwrap();
    fixture.store.gc().unwrap();
    assert!(again.skeleton.join("run/.containerenv").exists());
}

#[test]
fn an_image_gets_its_name_while_somebody_removes_every_image() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let record = image(&lease, "config", &["a"]);
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                match fixture.store.remove_image(&record.id, true) {
                    Ok(_) | Err(Error::ImageNotKnown { .. }) => {}
                    Err(error) => panic!("{}", chain(&error)),
                }
            }
        });
        let all: Result<Vec<_>, _> = (0..300)
            .map(|_| lease.commit_image_as(&record, Origin::Elsewhere, "localhost/x:1", None))
            .collect();
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
        all.unwrap();
    });
}

#[test]
fn nothing_removed_is_left_because_two_delete_at_the_same_time() {
    let fixture = Fixture::new();
    let root = fixture.store.root();
    for round in 0..100 {
        std::thread::scope(|scope| {
            for thread in 0..3 {
                scope.spawn(move || {
                    fs::create_dir(root.join(format!("tombs/tomb-{round}-{thread}"))).unwrap();
                    Store::empty_tombs(root).unwrap();
                });
            }
        });
        assert!(!Store::has_tombs(root), "round {round}");
    }
}

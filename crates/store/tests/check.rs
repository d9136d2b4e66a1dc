//! Damage of every kind is found, and nothing else. Needs root.

mod common;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{Fixture, Tar, chain, item};
use loment_store::{
    Claim, DiffId, Durability, Form, HashingSource, ImageId, ImagePlatform, ImageRecord, LayerBlob,
    LeftoverKind, Limits, Object, Problem, Report, sha256,
};

/// A layer with something of every kind, and something that was replaced.
fn tar() -> Vec<u8> {
    let tar = Tar::new().dir("d").file("d/file", &[7; 9000]).file("again", b"first").file("again", b"second");
    let tar = tar.symlink("link", "d/file").hardlink("hard", "d/file").file("d/.wh.gone", b"");
    tar.pax(&[("SCHILY.xattr.trusted.mark", b"value")]).file("attr", b"x").put(item(b'6', b"pipe"), b"").end()
}

/// An image of that layer, and the digest of its manifest.
fn image(fixture: &Fixture) -> (ImageRecord, LayerBlob) {
    let store = &fixture.store;
    let lease = store.lease().unwrap();
    let tar = tar();
    let blob = LayerBlob {
        digest: sha256(b"compressed"),
        size: 10,
        media_type: "application/test".into(),
        sent_to: Vec::new(),
    };
    let Claim::Missing(slot) = lease.claim_layer(&blob.digest, None, || true).unwrap().unwrap() else {
        panic!("it is new")
    };
    let layer = slot.unpack(HashingSource::new(&tar[..])).unwrap().commit(None, Some(blob.clone())).unwrap();
    let config = format!(
        r#"{{"os":"linux","architecture":"amd64","created":"2024-01-02T03:04:05Z","rootfs":{{"diff_ids":["{}"]}}}}"#,
        layer.diff_id()
    );
    let manifest = format!(r#"{{"config":{{"digest":"{}"}},"layers":[]}}"#, sha256(config.as_bytes()));
    for bytes in [config.as_bytes(), manifest.as_bytes()] {
        lease.put_blob(&sha256(bytes), bytes).unwrap();
    }
    let record = ImageRecord {
        id: ImageId::try_from(sha256(config.as_bytes())).unwrap(),
        manifests: vec![sha256(manifest.as_bytes())],
        layers: vec![layer.diff_id().clone()],
        platform: ImagePlatform { os: "linux".into(), architecture: "amd64".into(), variant: None },
        created: Some("2024-01-02T03:04:05Z".into()),
        size: layer.size(),
        pulled: 1,
        names_history: Vec::new(),
    };
    lease.commit_image(&record).unwrap();
    store.tag("localhost/x:1", &record.id, None).unwrap();
    store.create_rootfs("c1", &record.id, Durability::Full, Limits::default(), None).unwrap();
    (record, blob)
}

fn check(fixture: &Fixture) -> Report {
    fixture.store.check(false).unwrap()
}

#[track_caller]
fn is_clean(fixture: &Fixture) {
    let mut report = check(fixture);
    // Large things are deleted later, and by others.
    report.leftovers.retain(|leftover| leftover.kind != LeftoverKind::Tomb);
    assert!(report.damages.is_empty() && report.leftovers.is_empty(), "{report:?}");
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => files.extend(self::files(&entry.path())),
            kind if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    files
}

#[test]
fn a_changed_byte_is_found_wherever_it_is() {
    for form in [Form::Dir, Form::Erofs] {
        let fixture = Fixture::with_form(form);
        let (record, _) = image(&fixture);
        is_clean(&fixture);
        let root = fixture.store.root();
        let (layer, object) =
            (root.join("layers").join(record.layers[0].hex()), Object::Layer(record.layers[0].clone()));
        for path in files(&layer) {
            let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
            let meta = file.metadata().unwrap();
            let (size, times) = (meta.len(), fs::FileTimes::new().set_modified(meta.modified().unwrap()));
            // The last bytes of this one say which blobs are known, which nothing depends on.
            let size = if path.ends_with("layer.json") { size / 3 } else { size };
            for at in (0..size).step_by(1 + size as usize / 40) {
                let mut byte = [0];
                file.read_exact_at(&mut byte, at).unwrap();
                file.write_all_at(&[byte[0] ^ 0x11], at).unwrap();
                file.set_times(times).unwrap();
                let report = check(&fixture);
                assert!(report.objects().contains(&object), "{form:?} {} {at}: {report:?}", path.display());
                assert!(report.objects().contains(&Object::Image(record.id.clone())), "{report:?}");
                assert!(report.objects().contains(&Object::Container("c1".into())), "{report:?}");
                file.write_all_at(&byte, at).unwrap();
            }
            file.set_times(times).unwrap();
        }
        for path in files(&root.join("blobs")) {
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[1..]).unwrap();
            let report = check(&fixture);
            assert!(report.damages.iter().any(|d| matches!(d.object, Object::Blob(_))), "{report:?}");
            assert!(report.objects().contains(&Object::Image(record.id.clone())), "{report:?}");
            fs::write(&path, bytes).unwrap();
        }
        is_clean(&fixture);
    }
}

#[test]
fn what_a_tree_looks_like_is_compared_with_its_tar() {
    let fixture = Fixture::with_form(Form::Dir);
    let (record, _) = image(&fixture);
    is_clean(&fixture);
    let fs = fixture.store.root().join("layers").join(record.layers[0].hex()).join("fs");
    let damaged = |how: &str| {
        let report = check(&fixture);
        let found = report.damages.iter().find(|d| d.object == Object::Layer(record.layers[0].clone()));
        let Problem::Broken(error) = &found.unwrap_or_else(|| panic!("{how}: nothing found")).problem else {
            panic!("{report:?}")
        };
        assert!(chain(error).contains(how), "{}", chain(error));
    };
    fs::set_permissions(fs.join("d"), fs::Permissions::from_mode(0o700)).unwrap();
    damaged("other attributes");
    fs::set_permissions(fs.join("d"), fs::Permissions::from_mode(0o755)).unwrap();
    is_clean(&fixture);

    let file = OpenOptions::new().write(true).open(fs.join("attr")).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.set_modified(std::time::SystemTime::now()).unwrap();
    damaged("other attributes");
    file.set_modified(modified).unwrap();
    is_clean(&fixture);

    rustix::fs::setxattr(fs.join("attr"), "trusted.mark", b"other", rustix::fs::XattrFlags::empty()).unwrap();
    damaged("other extended attributes");
    rustix::fs::setxattr(fs.join("attr"), "trusted.mark", b"value", rustix::fs::XattrFlags::empty()).unwrap();
    is_clean(&fixture);

    let meta = fs::metadata(&fs).unwrap();
    fs::write(fs.join("new"), b"").unwrap();
    damaged("other");
    fs::remove_file(fs.join("new")).unwrap();
    let times = |file: &fs::File| file.set_times(fs::FileTimes::new().set_modified(meta.modified().unwrap()));
    times(&fs::File::open(&fs).unwrap()).unwrap();
    is_clean(&fixture);

    fs::rename(fs.join("link"), fs.join("aside")).unwrap();
    symlink("elsewhere", fs.join("link")).unwrap();
    fs::remove_file(fs.join("aside")).unwrap();
    times(&fs::File::open(&fs).unwrap()).unwrap();
    damaged("other");
}

#[test]
fn documents_that_cannot_be_read_are_found_and_can_be_dropped() {
    let fixture = Fixture::new();
    let (record, _) = image(&fixture);
    let store = &fixture.store;
    store.remove_container("c1").unwrap();
    let path = store.root().join("images").join(format!("{}.json", record.id.hex()));
    fs::write(&path, b"").unwrap();
    fs::write(store.root().join("refs/half"), b"{").unwrap();
    let report = check(&fixture);
    let objects = report.objects();
    assert_eq!(report.damages.len(), 2, "{report:?}");
    assert!(
        objects.contains(&Object::Image(record.id.clone())) && objects.contains(&Object::Name("half".into()))
    );
    store.drop_damaged_name("half").unwrap();
    let names = store.drop_damaged_image(&record.id).unwrap().unwrap();
    assert_eq!(names.iter().map(|name| name.name.as_str()).collect::<Vec<_>>(), ["localhost/x:1"]);
    assert!(!check(&fixture).is_damaged());
    store.gc().unwrap();
    is_clean(&fixture);
    assert_eq!(fixture.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn an_image_that_is_whole_again_is_not_dropped() {
    let fixture = Fixture::new();
    let (record, _) = image(&fixture);
    let store = &fixture.store;
    let layer = &record.layers[0];
    store.suspect(layer).unwrap();
    assert!(!store.is_whole(&record.id).unwrap());
    // Somebody else has put another in its place meanwhile.
    fs::remove_file(store.root().join("layers").join(layer.hex()).join("suspect")).unwrap();
    assert_eq!(store.drop_damaged_image(&record.id).unwrap(), None);
    assert_eq!(store.names_of(&record.id).unwrap().len(), 1);
    let path = store.root().join("blobs/sha256").join(&record.id.hex()[..2]).join(record.id.hex());
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, b"{").unwrap();
    assert!(!store.is_whole(&record.id).unwrap());
    fs::write(&path, bytes).unwrap();
    assert_eq!(store.drop_damaged_image(&record.id).unwrap(), None);
    store.suspect(layer).unwrap();
    assert_eq!(store.drop_damaged_image(&record.id).unwrap().map(|names| names.len()), Some(1));
    assert_eq!(store.image(&record.id).unwrap(), None);
}

#[test]
fn a_name_of_an_image_that_is_gone_is_damage() {
    let fixture = Fixture::new();
    let (record, _) = image(&fixture);
    fs::remove_file(fixture.store.root().join("images").join(format!("{}.json", record.id.hex()))).unwrap();
    let report = check(&fixture);
    assert_eq!(report.damages.len(), 1, "{report:?}");
    assert!(matches!(&report.damages[0].problem, Problem::Needs(Object::Image(id)) if *id == record.id));
}

#[test]
fn a_suspect_layer_is_replaced_by_the_next_of_its_identity() {
    for form in [Form::Dir, Form::Erofs] {
        let fixture = Fixture::with_form(form);
        let (record, blob) = image(&fixture);
        let store = &fixture.store;
        let diff_id: &DiffId = &record.layers[0];
        let dir = store.root().join("layers").join(diff_id.hex());
        let damages: [&dyn Fn(); 4] = [
            &|| fs::write(dir.join("tarhdr.zst"), b"").unwrap(),
            &|| fs::write(dir.join("layer.json"), b"").unwrap(),
            &|| fs::remove_file(dir.join("layer.json")).unwrap(),
            &|| {
                let _ = fs::remove_dir_all(dir.join("fs"));
                let _ = fs::remove_file(dir.join("layer.erofs"));
            },
        ];
        for damage in damages {
            damage();
            assert!(check(&fixture).objects().contains(&Object::Layer(diff_id.clone())));
            store.suspect(diff_id).unwrap();
            let lease = store.lease().unwrap();
            assert!(lease.layer(diff_id).unwrap().is_none(), "a pull makes it anew");
            let Claim::Missing(slot) = lease.claim_layer(&blob.digest, None, || true).unwrap().unwrap()
            else {
                panic!("suspect")
            };
            let staged = slot.unpack(HashingSource::new(&tar()[..])).unwrap();
            // Until now, those who use it have it.
            assert!(dir.exists());
            staged.commit(Some(diff_id), Some(blob.clone())).unwrap();
            drop(lease);
            is_clean(&fixture);
            assert_eq!(store.layer_by_blob(&blob.digest).unwrap().unwrap().diff_id(), diff_id);
        }
        assert_eq!(store.resolve("localhost/x:1").unwrap(), record.id);
    }
}

#[test]
fn what_nobody_needs_is_listed_and_what_is_being_made_is_not() {
    let fixture = Fixture::new();
    let (record, _) = image(&fixture);
    let store = &fixture.store;
    let lease = store.lease().unwrap();
    let staged = lease.unpack_layer(HashingSource::new(&Tar::new().file("f", b"x").end()[..])).unwrap();
    is_clean(&fixture);
    drop(staged);
    drop(lease);
    fs::create_dir(store.root().join("staging/lease-of-nobody")).unwrap();
    store.remove_container("c1").unwrap();
    store.remove_image(&record.id, true).unwrap();
    let report = check(&fixture);
    assert!(!report.is_damaged());
    let mut kinds: Vec<_> = report.leftovers.iter().map(|leftover| leftover.kind.name()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["blob of no image", "blob of no image", "half made", "layer of no image"]);
    assert!(report.leftovers.iter().all(|leftover| leftover.age < Duration::from_secs(3600)));
    store.gc().unwrap();
    is_clean(&fixture);
}

/// Puts another record in the place of an image's.
fn rewrite(fixture: &Fixture, id: &ImageId, change: impl Fn(&mut serde_json::Value)) {
    let path = fixture.store.root().join("images").join(format!("{}.json", id.hex()));
    let mut record = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut record);
    fs::write(path, record.to_string()).unwrap();
}

#[test]
fn a_record_that_says_what_its_image_does_not_is_damage_and_is_computed_again() {
    let fixture = Fixture::new();
    let (record, _) = image(&fixture);
    let (store, id) = (&fixture.store, &record.id);
    let sound = store.image(id).unwrap().unwrap();
    assert!(!store.mend_record(id).unwrap(), "there is nothing to mend");
    let zeros = format!("sha256:{:064}", 0);
    let changes: [(&str, serde_json::Value, &str); 6] = [
        ("/platform/os", "freebsd".into(), "platform"),
        ("/platform/architecture", "arm64".into(), "platform"),
        ("/created", "2025-01-02T03:04:05Z".into(), "date"),
        ("/created", serde_json::Value::Null, "date"),
        ("/size", 1.into(), "size"),
        ("/layers", serde_json::json!([]), "layers"),
    ];
    for (place, value, part) in changes {
        rewrite(&fixture, id, |record| *record.pointer_mut(place).unwrap() = value.clone());
        assert!(!store.is_whole(id).unwrap(), "{place}");
        let report = check(&fixture);
        assert_eq!(report.damages.len(), 1, "{report:?}");
        assert_eq!(report.damages[0].object, Object::Image(id.clone()));
        let said = report.damages[0].problem.to_string();
        assert!(said.contains(part), "{place}: {said}");
        assert!(store.mend_record(id).unwrap());
        assert_eq!(store.image(id).unwrap().unwrap(), sound, "{place}");
        is_clean(&fixture);
    }
    // What is not here, of what the record alone has wrong.
    for place in ["/layers/0", "/manifests/0", "/id"] {
        rewrite(&fixture, id, |record| *record.pointer_mut(place).unwrap() = zeros.clone().into());
        assert!(check(&fixture).objects().contains(&Object::Image(id.clone())), "{place}");
        assert!(store.mend_record(id).unwrap(), "{place}");
        let mended = store.image(id).unwrap().unwrap();
        assert_eq!(ImageRecord { pulled: 1, ..mended }, sound, "{place}");
        is_clean(&fixture);
    }
    let path = store.root().join("images").join(format!("{}.json", id.hex()));
    for damage in [|path: &Path| fs::write(path, "{").unwrap(), |path: &Path| fs::remove_file(path).unwrap()]
    {
        damage(&path);
        assert!(check(&fixture).is_damaged());
        assert!(store.mend_record(id).unwrap());
        let mended = store.image(id).unwrap().unwrap();
        assert!(mended.pulled > 1, "the configuration came just now");
        assert_eq!(ImageRecord { pulled: 1, ..mended }, sound);
        is_clean(&fixture);
    }
    // What is damaged itself says nothing.
    rewrite(&fixture, id, |record| record["size"] = 1.into());
    let config = store.root().join("blobs/sha256").join(&id.hex()[..2]).join(id.hex());
    fs::write(config, "{").unwrap();
    assert!(!store.mend_record(id).unwrap());
}

#[test]
fn a_name_that_its_image_does_not_remember_is_damage_of_the_image() {
    let fixture = Fixture::new();
    let (record, _) = image(&fixture);
    let (store, id) = (&fixture.store, &record.id);
    store.tag("localhost/y:2", id, None).unwrap();
    rewrite(&fixture, id, |record| record["names_history"] = serde_json::json!(["localhost/x:1"]));
    assert_eq!(store.names_of(id).unwrap().len(), 1, "it is not found");
    let report = check(&fixture);
    assert_eq!(report.damages.len(), 1, "{report:?}");
    let Problem::Broken(error) = &report.damages[0].problem else { panic!("{report:?}") };
    assert!(chain(error).contains("localhost/y:2"), "{}", chain(error));
    assert!(store.mend_record(id).unwrap());
    assert_eq!(store.names_of(id).unwrap().len(), 2);
    is_clean(&fixture);
    // A name that went elsewhere or away is remembered, and that is no damage.
    store.untag("localhost/y:2", None).unwrap();
    is_clean(&fixture);
}

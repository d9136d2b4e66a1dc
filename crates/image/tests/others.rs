//! What skopeo puts into containers/storage and into Docker's first format is read.

#[expect(dead_code, reason = "uses its own part of what the tests share")]
mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{DOCKER_CONFIG, DOCKER_GZIP, DOCKER_MANIFEST, Fixture, chain, gzip, host, skopeo, tar};
use loment_image::{
    CopyOptions, Error, ImageDir, OciLayout, OciLayoutWriter, Options, Scratch, Silent, Source, StorageImage,
    copy, pull,
};
use loment_store::sha256;
use rustix::fs::{FileType, Mode};
use serde_json::{Value, json};

const NAME: &str = "localhost/app:1";

/// An image in Docker's format whose second layer is of several kinds of entries.
fn layout(fixture: &Fixture) -> String {
    let mut builder = tar::Builder::new(Vec::new());
    let mut entry = |kind, name: &str, link: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        match link {
            "" => builder.append_data(&mut header, name, content).unwrap(),
            link => builder.append_link(&mut header, name, link).unwrap(),
        }
    };
    entry(tar::EntryType::Directory, "d/", "", b"");
    entry(tar::EntryType::Regular, "d/empty", "", b"");
    entry(tar::EntryType::Regular, &format!("d/{}", "long".repeat(40)), "", b"long");
    entry(tar::EntryType::Regular, "d/file", "", &b"some content\n".repeat(5000));
    entry(tar::EntryType::Link, "d/hard", "d/file", b"");
    entry(tar::EntryType::Symlink, "d/soft", "/etc/passwd", b"");
    entry(tar::EntryType::Regular, "d/.wh.gone", "", b"");
    let tars = [tar("a", b"this is a"), builder.into_inner().unwrap(), tar("c", b"this is c")];
    let ids: Vec<_> = tars.iter().map(|tar| sha256(tar)).collect();
    let platform = host();
    let (os, architecture) = platform.split_once('/').unwrap();
    let step = |by: &str, empty: bool| json!({ "created": "2024-01-02T03:04:05Z", "created_by": by, "empty_layer": empty });
    let config = json!({
        "os": os, "architecture": architecture, "created": "2024-01-02T03:04:05Z", "config": { "Cmd": ["sh"] },
        "rootfs": { "type": "layers", "diff_ids": ids },
        "history": [step("one", false), step("two", false), step("nothing", true), step("three", false)],
    });
    let config: Value =
        serde_json::from_str(&fixture.blob(DOCKER_CONFIG, config.to_string().as_bytes())).unwrap();
    let layer = |tar: &Vec<u8>| serde_json::from_str(&fixture.blob(DOCKER_GZIP, &gzip(tar))).unwrap();
    let layers: Vec<Value> = tars.iter().map(layer).collect();
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": config, "layers": layers });
    fixture.index(&[fixture.blob(DOCKER_MANIFEST, manifest.to_string().as_bytes())]);
    format!("oci:{}", fixture.oci().display())
}

#[test]
fn images_of_other_tools_are_read_where_they_are() {
    for driver in ["vfs", "overlay"] {
        let fixture = Fixture::new();
        let from = layout(&fixture);
        let root = fixture.dir.path().join("storage");
        let place = |name: &str| {
            let run = fixture.dir.path().join("storage-run");
            format!("containers-storage:[{driver}@{}+{}]{name}", root.display(), run.display())
        };
        skopeo(&["copy", &from, &place(NAME)]);
        // It mounts the directory on itself.
        drop(Command::new("umount").arg(root.join("overlay")).output());
        let before = listing(&root);
        let expected = fixture.pull("").unwrap().image;
        fixture.store.remove_image(&expected, true).unwrap();
        fixture.store.gc().unwrap();
        for name in [NAME, "app:1", "@", expected.hex(), &expected.hex()[..12]] {
            let name = if name == "@" { format!("{NAME}@{}", expected.hex()) } else { name.to_owned() };
            let found = StorageImage::open(&root, None, &name).unwrap_or_else(|e| panic!("{}", chain(&e)));
            assert_eq!(found.names(), [NAME]);
            let pulled = pull(&found, &fixture.store, None, &Options::default(), &mut Silent);
            assert_eq!(pulled.unwrap_or_else(|e| panic!("{}", chain(&e))).image, expected, "{driver} {name}");
        }
        // Past the store, and back to its owner.
        let found = StorageImage::open(&root, Some(driver), NAME).unwrap();
        let out = fixture.dir.path().join("out");
        let to = OciLayoutWriter::open(&out, None, Some("x")).unwrap();
        copy(&found, &to, &CopyOptions::default(), &mut Silent).unwrap();
        drop(to);
        let copied = OciLayout::open(&out, None, "x").unwrap();
        let pulled = pull(&copied, &fixture.store, None, &Options::default(), &mut Silent).unwrap();
        assert_eq!(pulled.image, expected);
        for missing in ["localhost/other:1", "ffffffffffff"] {
            let text = StorageImage::open(&root, None, missing).unwrap_err().to_string();
            assert!(text.contains(&format!("{missing}: image not known")), "{text}");
        }
        assert!(before == listing(&root), "it was written to");
        damaged(&fixture, &root, driver);
    }
    let nothing = StorageImage::open(Path::new("/nonesuch"), None, NAME).unwrap_err();
    assert!(nothing.to_string().contains("there are no images"));
}

/// As later versions of containers/image keep an image whose layers they know by their tables of contents (zstd:chunked).
#[test]
fn an_image_of_layers_that_were_fetched_in_parts_has_another_id_there() {
    let fixture = Fixture::new();
    let from = layout(&fixture);
    let root = fixture.dir.path().join("storage");
    let run = fixture.dir.path().join("storage-run");
    skopeo(&["copy", &from, &format!("containers-storage:[vfs@{}+{}]{NAME}", root.display(), run.display())]);
    let expected = fixture.pull("").unwrap().image;
    fixture.store.remove_image(&expected, true).unwrap();
    fixture.store.gc().unwrap();
    let images = root.join("vfs-images");
    let other = sha256(b"@With TOC:").digest().to_owned();
    fs::rename(images.join(expected.hex()), images.join(&other)).unwrap();
    let list = fs::read_to_string(images.join("images.json")).unwrap();
    let list = list.replace(&format!("\"id\":\"{}\"", expected.hex()), &format!("\"id\":\"{other}\""));
    assert!(list.contains(&other), "{list}");
    fs::write(images.join("images.json"), list).unwrap();
    // Nor is it known what their tars were.
    let layers = root.join("vfs-layers/layers.json");
    let mut known: Value = serde_json::from_slice(&fs::read(&layers).unwrap()).unwrap();
    for layer in known.as_array_mut().unwrap() {
        assert!(layer.as_object_mut().unwrap().remove("diff-digest").is_some(), "{layer}");
        layer["toc-digest"] = json!(sha256(b"a table"));
    }
    fs::write(&layers, known.to_string()).unwrap();
    for name in [NAME, &other[..12]] {
        let found = StorageImage::open(&root, None, name).unwrap_or_else(|e| panic!("{}", chain(&e)));
        let pulled = pull(&found, &fixture.store, None, &Options::default(), &mut Silent).unwrap();
        assert_eq!(pulled.image, expected);
    }
    fixture.store.remove_image(&expected, true).unwrap();
    fixture.store.gc().unwrap();
    let split = fs::read_dir(root.join("vfs-layers")).unwrap().map(|entry| entry.unwrap().path());
    let split = split.filter(|path| path.display().to_string().ends_with(".tar-split.gz"));
    split.for_each(|path| fs::remove_file(path).unwrap());
    let found = StorageImage::open(&root, None, NAME);
    let error = found.and_then(|found| pull(&found, &fixture.store, None, &Options::default(), &mut Silent));
    let text = chain(&error.unwrap_err());
    assert!(text.contains("was fetched in parts") && text.contains("from its registry"), "{text}");
}

/// Every file with its length and time of change.
fn listing(dir: &Path) -> Vec<(String, u64, std::time::SystemTime)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let data = entry.path().symlink_metadata().unwrap();
        all.push((entry.path().display().to_string(), data.len(), data.modified().unwrap()));
        if data.is_dir() {
            all.extend(listing(&entry.path()));
        }
    }
    all.sort();
    all
}

/// What is not as it was stored is not taken.
fn damaged(fixture: &Fixture, root: &Path, driver: &str) {
    let forget = || {
        let images = fixture.store.images().unwrap();
        images.iter().for_each(|image| drop(fixture.store.remove_image(&image.image.id, true)));
        fixture.store.gc().unwrap();
    };
    let read = || -> Result<(), Error> {
        // A layer that is there is not read.
        forget();
        let found = StorageImage::open(root, None, NAME)?;
        pull(&found, &fixture.store, None, &Options::default(), &mut Silent).map(|_| ())
    };
    let files = listing(root).into_iter().map(|(path, ..)| path);
    let changed: Vec<_> = files
        .filter(|path| path.ends_with("/d/file") || path.ends_with(".json") || path.contains("/="))
        .collect();
    assert!(changed.len() > 4, "{changed:?}");
    for path in changed {
        let good = fs::read(&path).unwrap();
        if good.len() < 10 || path.contains("volatile") || path.contains("containers") {
            continue;
        }
        for bad in [&good[..good.len() / 2], b"{}", &[b'x'; 70_000]] {
            fs::write(&path, bad).unwrap();
            // Of documents that are not needed nothing is seen.
            if let Err(error) = read() {
                let text = chain(&error);
                let words = ["malformed", "expected", "storage at", "too short", "cannot", "more than"];
                assert!(words.iter().any(|word| text.contains(word)), "{driver} {path}: {text}");
            } else {
                // Under this driver a layer has all files of those below, too.
                let copy = driver == "vfs" && path.ends_with("/d/file");
                assert!(path.contains("/=") || copy, "{path} was believed");
            }
        }
        fs::write(&path, good).unwrap();
    }
    read().unwrap();
}

#[test]
fn images_in_dockers_first_format_are_read() {
    let fixture = Fixture::new();
    let from = layout(&fixture);
    let expected = fixture.pull("").unwrap();
    let layers = fixture.store.image(&expected.image).unwrap().unwrap().layers;
    let old = fixture.dir.path().join("old");
    skopeo(&["copy", "--format", "v2s1", &from, &format!("dir:{}", old.display())]);
    let bytes = fs::read(old.join("manifest.json")).unwrap();
    assert!(String::from_utf8_lossy(&bytes).contains("\"signatures\""), "it is signed");
    let source = ImageDir::open(&old);
    let pulled = pull(&source, &fixture.store, None, &Options::default(), &mut Silent);
    let pulled = pulled.unwrap_or_else(|e| panic!("{}", chain(&e)));
    let record = fixture.store.image(&pulled.image).unwrap().unwrap();
    assert_eq!(record.layers, layers);
    let config = fixture.store.blob(pulled.image.digest()).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["config"]["Cmd"], json!(["sh"]), "{config}");
    assert_eq!(config["history"].as_array().unwrap().len(), 4, "{config}");
    for key in ["id", "parent", "throwaway"] {
        assert!(config.get(key).is_none(), "{config}");
    }
    // Past the store it becomes an image of today's kind, which skopeo reads.
    let out = fixture.dir.path().join("out");
    let to = OciLayoutWriter::open(&out, None, Some("x")).unwrap();
    let refused = copy(&source, &to, &CopyOptions::default(), &mut Silent);
    assert!(matches!(refused, Err(Error::Schema1 { .. })));
    let options = CopyOptions { scratch: Some(Scratch::of(&fixture.store)), ..CopyOptions::default() };
    copy(&source, &to, &options, &mut Silent).unwrap();
    drop(to);
    let config = skopeo(&["inspect", "--config", "--raw", &format!("oci:{}:x", out.display())]);
    assert_eq!(sha256(config.as_bytes()), *pulled.image.digest());
    // What is not signed is not looked at, and what is must be whole.
    let text = String::from_utf8(bytes.clone()).unwrap();
    let more = text.replacen("\"signatures\"", "\"architecture\": \"none\",\n   \"signatures\"", 1);
    let shorter = text.replacen("\"blobSum\"", "\"blobsum\"", 1);
    for (bad, fails) in
        [(more, false), (shorter, true), (text.replacen("v1Compat", "v2Compat", 1), true), (text, false)]
    {
        fs::write(old.join("manifest.json"), bad).unwrap();
        let result = pull(&source, &fixture.store, None, &Options::default(), &mut Silent);
        assert_eq!(result.is_err(), fails, "{result:?}");
    }
    // A layer that is another one.
    let blob = fs::read_dir(&old).unwrap().map(|e| e.unwrap().path());
    let blob =
        blob.filter(|path| path.file_name().unwrap().len() == 64).max_by_key(|p| p.metadata().unwrap().len());
    let blob = blob.unwrap();
    let mut bytes = fs::read(&blob).unwrap();
    bytes[20] ^= 1;
    fs::write(&blob, bytes).unwrap();
    let text = chain(&pull(&source, &fixture.store, None, &Options::default(), &mut Silent).unwrap_err());
    assert!(text.contains("expected sha256:"), "{text}");
    assert_eq!(source.manifest(None).unwrap().digest, None);
}

#[test]
fn in_storage_of_others_no_link_is_followed_and_nothing_but_files_is_opened() {
    for driver in ["vfs", "overlay"] {
        let fixture = Fixture::new();
        let from = layout(&fixture);
        let root = fixture.dir.path().join("storage");
        let run = fixture.dir.path().join("storage-run");
        skopeo(&[
            "copy",
            &from,
            &format!("containers-storage:[{driver}@{}+{}]{NAME}", root.display(), run.display()),
        ]);
        drop(Command::new("umount").arg(root.join("overlay")).output());
        let read = || -> Result<(), Error> {
            let other = Fixture::new();
            let found = StorageImage::open(&root, None, NAME)?;
            pull(&found, &other.store, None, &Options::default(), &mut Silent).map(drop)
        };
        read().unwrap();
        let all: Vec<_> =
            listing(&root).into_iter().map(|(path, ..)| std::path::PathBuf::from(path)).collect();
        let ends = |end: &str| -> Vec<std::path::PathBuf> {
            all.iter().filter(|path| path.to_string_lossy().ends_with(end)).cloned().collect()
        };
        let contents = ends("/d/file");
        let top = |path: &std::path::PathBuf| path.parent().and_then(Path::parent).unwrap().to_path_buf();
        let directories: Vec<_> = contents.iter().map(top).collect();
        let lists = [ends("-images/images.json"), ends("-layers/layers.json")].concat();
        let splits = ends(".tar-split.gz");
        assert_eq!((lists.len(), splits.len()), (2, 3), "{driver}");
        let aside = fixture.dir.path().join("aside");
        let with = |path: &Path, put: &dyn Fn()| {
            fs::rename(path, &aside).unwrap();
            put();
            let result = read().map_err(|error| chain(&error));
            fs::remove_file(path).unwrap();
            fs::rename(&aside, path).unwrap();
            result
        };
        // What is elsewhere has the right content, and is not read all the same. Under vfs a layer has what is below it, too, which is
        // not looked at.
        let mut refused = 0;
        for path in directories.iter().chain(&lists).chain(&splits) {
            match with(path, &|| std::os::unix::fs::symlink(&aside, path).unwrap()) {
                Err(text) => {
                    let words = text.contains("cannot open") && text.contains("symbolic links");
                    assert!(words, "{driver} {path:?}: {text}");
                    refused += 1;
                }
                Ok(()) => assert!(directories.contains(path), "{driver} {path:?}"),
            }
        }
        assert!(refused > 5, "{driver}");
        for kind in [FileType::Fifo, FileType::CharacterDevice] {
            let mut refused = 0;
            for path in contents.iter().chain(&lists).chain(&splits) {
                match with(path, &|| odd_file(path, kind)) {
                    Err(text) => {
                        assert!(text.contains("it is no regular file"), "{driver} {path:?}: {text}");
                        refused += 1;
                    }
                    Ok(()) => assert!(contents.contains(path), "{driver} {path:?}"),
                }
            }
            assert!(refused > 5, "{driver}");
        }
        read().unwrap();
    }
}

/// A pipe that nobody writes to, or /dev/zero.
fn odd_file(path: &Path, kind: FileType) {
    let device = if kind == FileType::Fifo { 0 } else { rustix::fs::makedev(1, 5) };
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, Mode::RUSR | Mode::WUSR, device).unwrap();
}

#[test]
fn a_pipe_in_a_place_of_files_is_an_error_and_not_waited_for() {
    let fixture = Fixture::new();
    let oci = layout(&fixture);
    let dir = fixture.dir.path().join("plain");
    skopeo(&["copy", &oci, &format!("dir:{}", dir.display())]);
    // A layer that is there is not read.
    let read = |source: &dyn Source| {
        pull(source, &Fixture::new().store, None, &Options::default(), &mut Silent).map(drop)
    };
    let from_dir = || read(&ImageDir::open(&dir));
    let from_oci = || read(&OciLayout::open(&fixture.oci(), None, "")?);
    for (place, read) in
        [(dir.clone(), &from_dir as &dyn Fn() -> Result<(), Error>), (fixture.oci(), &from_oci)]
    {
        read().unwrap();
        let files = listing(&place).into_iter().map(|(path, ..)| std::path::PathBuf::from(path));
        let aside = fixture.dir.path().join("aside");
        let mut needed = 0;
        for path in files.filter(|path| path.is_file()) {
            fs::rename(&path, &aside).unwrap();
            for kind in [FileType::Fifo, FileType::CharacterDevice] {
                odd_file(&path, kind);
                match read() {
                    Err(error) => {
                        let text = chain(&error);
                        assert!(text.contains("it is no regular file"), "{path:?}: {text}");
                        needed += 1;
                    }
                    // Not everything is looked at.
                    Ok(_) => assert!(path.ends_with("version") || path.ends_with("oci-layout"), "{path:?}"),
                }
                fs::remove_file(&path).unwrap();
            }
            fs::rename(&aside, &path).unwrap();
        }
        // A manifest, a configuration, three layers; and a layout's index.
        assert_eq!(needed, 2 * if place == dir { 5 } else { 6 });
        read().unwrap();
    }
    fs::remove_file(dir.join("version")).unwrap();
    odd_file(&dir.join("version"), FileType::Fifo);
    assert!(matches!(ImageDir::create(&dir), Err(Error::NotEmpty { .. })));
}

#[test]
fn what_is_not_signed_of_a_manifest_is_never_taken_for_an_image() {
    use base64::Engine as _;
    let encode = |bytes: &[u8]| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let fixture = Fixture::new();
    layout(&fixture);
    let good = fixture.pull("").unwrap();
    let bytes = fixture.store.blob(&good.manifest).unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    // Nothing but the first byte is before the signature, which has the rest of what has the digest.
    let tail = encode(&bytes[1..]);
    let protected = encode(format!(r#"{{"formatLength":1,"formatTail":"{tail}"}}"#).as_bytes());
    let evil = format!(r#"{{"signatures":[{{"protected":"{protected}"}}],{}"#, &text[1..]);
    fs::write(fixture.blob_path(good.manifest.as_ref()), evil).unwrap();
    let error = fixture.pull("").unwrap_err();
    assert!(!matches!(error, Error::Schema1 { .. }), "{error}");
}

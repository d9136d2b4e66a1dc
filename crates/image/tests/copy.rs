//! Copies between directories, read by skopeo, and what skopeo has written.

#[expect(dead_code, reason = "uses its own part of what the tests share")]
mod common;

use std::fs;
use std::path::Path;

use common::{Fixture, GZIP, OCI_INDEX, PLAIN, ZSTD, chain, digest_of, gzip, host, image, skopeo, tar};
use loment_image::{
    CopyOptions, Destination, Error, ImageDir, Images, Layers, OciLayout, OciLayoutWriter, Options, Silent,
    Source, copy, pull,
};

const ALL: CopyOptions = CopyOptions {
    images: Images::All,
    parallel: 2,
    format: None,
    layers: Layers::Keep,
    level: None,
    preserve_digests: false,
    accept_plain: false,
    precompute: false,
    scratch: None,
    only: None,
};

/// An image of this platform and one of another, each of three layers that are compressed in different ways.
fn two_platforms(fixture: &Fixture) -> [String; 2] {
    let make = |platform: &str| {
        let tars =
            ["a", "b", "c"].map(|name| tar(name, format!("{name} of {platform}").repeat(999).as_bytes()));
        let blobs = [gzip(&tars[0]), zstd::encode_all(&tars[1][..], 1).unwrap(), tars[2].clone()];
        let layers: Vec<_> = [GZIP, ZSTD, PLAIN]
            .into_iter()
            .zip(&blobs)
            .zip(&tars)
            .map(|((m, b), t)| (m, &b[..], &t[..]))
            .collect();
        let descriptor = image(fixture, &layers, false, platform);
        let (os, architecture) = platform.split_once('/').unwrap();
        let (architecture, _) = architecture.split_once('/').unwrap_or((architecture, ""));
        let end = format!(r#","platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#);
        descriptor.strip_suffix('}').unwrap().to_owned() + &end
    };
    [make(&host()), make("linux/s390x")]
}

fn index(fixture: &Fixture) -> String {
    let members = two_platforms(fixture).join(",");
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{members}]}}"#);
    let descriptor = fixture.blob(OCI_INDEX, index.as_bytes());
    fixture.index(std::slice::from_ref(&descriptor));
    descriptor
}

fn to(destination: &dyn Destination, fixture: &Fixture, options: &CopyOptions) -> Result<usize, Error> {
    let source = OciLayout::open(&fixture.oci(), None, "")?;
    copy(&source, destination, options, &mut Silent).map(|copied| copied.sent)
}

/// The digest of the configuration of an image.
fn manifest_config(descriptor: &str, fixture: &Fixture) -> String {
    let manifest = fs::read(fixture.blob_path(&digest_of(descriptor))).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    manifest["config"]["digest"].as_str().unwrap().to_owned()
}

/// For the image of the other platform.
fn foreign() -> Options {
    Options { platform: "linux/s390x".parse().unwrap(), ..Options::default() }
}

#[track_caller]
fn no_unfinished_files(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        assert!(!entry.file_name().to_string_lossy().starts_with('.'), "{}", entry.path().display());
        if entry.file_type().unwrap().is_dir() {
            no_unfinished_files(&entry.path());
        }
    }
}

#[test]
fn skopeo_reads_the_layouts_and_directories_that_we_write() {
    let fixture = Fixture::new();
    let index = index(&fixture);
    let path = |name: &str| fixture.dir.path().join(name);
    let layout = path("layout");
    let sent = to(&OciLayoutWriter::open(&layout, None, Some("all")).unwrap(), &fixture, &ALL);
    assert_eq!(sent.unwrap(), 8);
    let one = CopyOptions::default();
    let sent = to(&OciLayoutWriter::open(&layout, None, Some("one")).unwrap(), &fixture, &one);
    assert_eq!(sent.unwrap(), 0, "what is there is not sent again");
    to(&ImageDir::create(&path("all")).unwrap(), &fixture, &ALL).unwrap();
    to(&ImageDir::create(&path("one")).unwrap(), &fixture, &one).unwrap();
    let named = |transport: &str, name: &str| match transport {
        "oci" => format!("oci:{}:{name}", layout.display()),
        _ => format!("dir:{}", path(name).display()),
    };
    for transport in ["oci", "dir"] {
        // skopeo 1.9 has no other way to say the digest of what is there.
        let digest_of_raw = |name: &str| {
            let raw = skopeo(&["inspect", "--raw", &named(transport, name)]);
            loment_store::sha256(raw.as_bytes()).to_string()
        };
        assert_eq!(digest_of_raw("all"), digest_of(&index), "{transport}");
        let member = two_platforms(&fixture)[0].clone();
        assert_eq!(digest_of_raw("one"), digest_of(&member), "{transport}");
        // It reads every blob and verifies it.
        for (name, flags) in [("all", &["--all"][..]), ("one", &[])] {
            let to = format!("oci:{}:{transport}-{name}", path("theirs").display());
            skopeo(&[&["copy", "--preserve-digests"], flags, &[&named(transport, name), &to]].concat());
        }
    }
    no_unfinished_files(fixture.dir.path());
}

#[test]
fn what_skopeo_writes_is_copied_and_pulled() {
    let fixture = Fixture::new();
    index(&fixture);
    let path = |name: &str| fixture.dir.path().join(name).display().to_string();
    let from = format!("oci:{}", fixture.oci().display());
    for format in ["oci", "v2s2"] {
        let (dir, layout) = (path(&format!("dir-{format}")), path(&format!("layout-{format}")));
        // Docker's format knows no zstd.
        let flags: &[&str] =
            if format == "oci" { &[] } else { &["--dest-compress", "--dest-compress-format", "gzip"] };
        let gzipped = path("gzipped");
        let source = if format == "oci" {
            from.clone()
        } else {
            skopeo(&["copy", "--dest-decompress", &from, &format!("dir:{gzipped}")]);
            format!("dir:{gzipped}")
        };
        skopeo(&[&["copy", "--format", format], flags, &[&source, &format!("dir:{dir}")]].concat());
        let theirs = ImageDir::open(Path::new(&dir));
        let ours = OciLayoutWriter::open(Path::new(&layout), None, None).unwrap();
        let exactly = CopyOptions { preserve_digests: true, ..CopyOptions::default() };
        let refused = copy(&theirs, &ours, &exactly, &mut Silent);
        // A layout takes manifests of OCI's format only.
        assert_eq!(matches!(refused, Err(Error::Preserve { .. })), format == "v2s2", "{refused:?}");
        copy(&theirs, &ours, &CopyOptions::default(), &mut Silent).unwrap();
        drop(ours);
        let ours = OciLayout::open(Path::new(&layout), None, "").unwrap();
        let same = ours.manifest(None).unwrap().bytes == theirs.manifest(None).unwrap().bytes;
        assert_eq!(same, format == "oci");
        for source in [&theirs as &dyn Source, &ours] {
            let pulled = pull(source, &fixture.store, None, &Options::default(), &mut Silent).unwrap();
            assert_eq!(fixture.read(&pulled.image, "a"), format!("a of {}", host()).repeat(999), "{format}");
        }
    }
}

#[test]
fn a_name_in_a_layout_moves_to_the_new_image() {
    let fixture = Fixture::new();
    let layout = fixture.dir.path().join("layout");
    let members = two_platforms(&fixture);
    let put = |member: &str, name: Option<&str>| {
        fixture.index(&[member.to_owned()]);
        to(&OciLayoutWriter::open(&layout, None, name).unwrap(), &fixture, &ALL).unwrap();
    };
    let shown = |name: &str| {
        let bytes = OciLayout::open(&layout, None, name).and_then(|l| l.manifest(None)).unwrap().bytes;
        loment_store::sha256(&bytes).to_string()
    };
    put(&members[0], Some("x"));
    put(&members[1], Some("y"));
    assert_eq!((shown("x"), shown("y")), (digest_of(&members[0]), digest_of(&members[1])));
    put(&members[1], Some("x"));
    assert_eq!(shown("x"), digest_of(&members[1]));
    assert_eq!(shown("@0"), digest_of(&members[0]), "the image that was x is still there");
    for _ in 0..2 {
        put(&members[0], None);
    }
    // Whatever the index is, it is no panic.
    let text = fs::read_to_string(layout.join("index.json")).unwrap();
    for bad in ["[]", "7", "{", r#"{"manifests":[7,{"annotations":7}]}"#] {
        fs::write(layout.join("index.json"), bad).unwrap();
        fixture.index(&[members[0].clone()]);
        let writer = OciLayoutWriter::open(&layout, None, Some("x")).unwrap();
        assert_eq!(to(&writer, &fixture, &ALL).is_ok(), bad.len() > 2, "{bad}");
    }
    assert_eq!(text.matches(&digest_of(&members[0])).count(), 1, "{text}");
}

#[test]
fn wrong_bytes_are_not_passed_on() {
    let fixture = Fixture::new();
    index(&fixture);
    let (layout, dir) = (fixture.dir.path().join("layout"), fixture.dir.path().join("dir"));
    for entry in fs::read_dir(fixture.oci().join("blobs/sha256")).unwrap().map(Result::unwrap) {
        let (path, good) = (entry.path(), fs::read(entry.path()).unwrap());
        let long = [&good[..], b"more"].concat();
        let mut other = good.clone();
        other[0] ^= 1;
        for bad in [&good[..good.len() - 1], &long, &other] {
            fs::write(&path, bad).unwrap();
            drop(fs::remove_dir_all(&layout));
            drop(fs::remove_dir_all(&dir));
            let writers: [&dyn Destination; 2] =
                [&OciLayoutWriter::open(&layout, None, Some("x")).unwrap(), &ImageDir::create(&dir).unwrap()];
            for destination in writers {
                let text = chain(&to(destination, &fixture, &ALL).unwrap_err());
                let words = ["expected sha256:", "is malformed", "bytes long, expected"];
                assert!(words.iter().any(|word| text.contains(word)), "{}: {text}", path.display());
            }
            assert!(!dir.join("manifest.json").exists() && !layout.join("index.json").exists());
            no_unfinished_files(&layout);
            no_unfinished_files(&dir);
        }
        fs::write(&path, good).unwrap();
    }
}

#[test]
fn a_directory_of_something_else_is_left_as_it_is() {
    let fixture = Fixture::new();
    let dir = fixture.dir.path().join("home");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("letter"), "x").unwrap();
    let error = ImageDir::create(&dir).unwrap_err();
    assert!(matches!(error, Error::NotEmpty { .. }), "{error}");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    // Of an image of ours, the old one goes and what is somebody's stays.
    let dir = fixture.dir.path().join("dir");
    let members = two_platforms(&fixture);
    for member in &members {
        fixture.index(std::slice::from_ref(member));
        to(&ImageDir::create(&dir).unwrap(), &fixture, &ALL).unwrap();
        fs::write(dir.join("letter"), "x").unwrap();
    }
    // A copy that fails leaves the image as it was.
    let shown = ImageDir::open(&dir).manifest(None).unwrap().bytes;
    fixture.index(&[members[0].clone()]);
    let config = fixture.blob_path(&manifest_config(&members[0], &fixture));
    let good = fs::read(&config).unwrap();
    fs::write(&config, "{}").unwrap();
    to(&ImageDir::create(&dir).unwrap(), &fixture, &ALL).unwrap_err();
    assert_eq!(ImageDir::open(&dir).manifest(None).unwrap().bytes, shown);
    let pulled = pull(&ImageDir::open(&dir), &fixture.store, None, &foreign(), &mut Silent).unwrap();
    assert!(fixture.read(&pulled.image, "a").starts_with("a of linux/s390x"));
    fs::write(&config, good).unwrap();
    to(&ImageDir::create(&dir).unwrap(), &fixture, &ALL).unwrap();
    let files = fs::read_dir(&dir).unwrap().count();
    assert_eq!(files, ["manifest.json", "version", "letter"].len() + 4);
}

#[test]
fn a_deletion_waits_for_copies_that_count_on_what_is_there() {
    let fixture = Fixture::new();
    index(&fixture);
    let layout = fixture.dir.path().join("to");
    let open = |name| OciLayoutWriter::open(&layout, None, Some(name)).unwrap();
    assert!(to(&open("old"), &fixture, &ALL).unwrap() > 0);
    let new = open("new");
    std::thread::scope(|scope| {
        let deletion = scope.spawn(|| OciLayout::delete(&layout, false, "old"));
        // Time to do harm, if it could.
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert_eq!(to(&new, &fixture, &ALL).unwrap(), 0, "all of it was there");
        drop(new);
        deletion.join().unwrap().unwrap();
    });
    assert!(OciLayout::open(&layout, None, "old").is_err());
    let new = OciLayout::open(&layout, None, "new").unwrap();
    pull(&new, &fixture.store, None, &Options::default(), &mut Silent).unwrap();
    OciLayout::delete(&layout, false, "new").unwrap();
    assert!(fs::read_dir(layout.join("blobs/sha256")).unwrap().next().is_none());
}

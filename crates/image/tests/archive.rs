//! Archives of images: ours are read by skopeo, skopeo's by us, and odd ones are read or refused.

#[expect(dead_code, reason = "uses its own part of what the tests share")]
mod common;

use std::fs::{self, File};
use std::path::Path;

use common::{DOCKER_GZIP, Fixture, GZIP, PLAIN, ZSTD, chain, config, gzip, host, image, skopeo, tar};
use loment_image::{
    Archive, CopyOptions, Destination, DockerArchive, DockerArchiveWriter, Error, OciArchiveWriter,
    OciLayout, OciLayoutWriter, Options, Output, PushOptions, Scratch, Silent, Source, copy, pull, push,
};
use loment_store::{ImageId, sha256};

const NAME: &str = "localhost/app:1";

fn scratch(fixture: &Fixture) -> Scratch {
    Scratch::of(&fixture.store)
}

/// Three layers, compressed in different ways.
fn three_layers(fixture: &Fixture, docker: bool) -> String {
    let tars = ["a", "b", "c"].map(|name| tar(name, format!("this is {name}\n").repeat(5000).as_bytes()));
    let blobs = [gzip(&tars[0]), zstd::encode_all(&tars[1][..], 1).unwrap(), tars[2].clone()];
    let types = if docker { [DOCKER_GZIP; 3] } else { [GZIP, ZSTD, PLAIN] };
    let blobs = if docker { tars.each_ref().map(|tar| gzip(tar)) } else { blobs };
    let layers: Vec<_> =
        types.into_iter().zip(&blobs).zip(&tars).map(|((m, b), t)| (m, &b[..], &t[..])).collect();
    let image = image(fixture, &layers, docker, &host());
    fixture.index(std::slice::from_ref(&image));
    image
}

/// Another store has the image after pulling it from there.
#[track_caller]
fn comes_back(source: &dyn Source, id: &ImageId) {
    let other = Fixture::new();
    let back = pull(source, &other.store, None, &Options::default(), &mut Silent).unwrap();
    assert_eq!(back.image, *id);
    assert_eq!(other.read(id, "b"), "this is b\n".repeat(5000));
}

#[track_caller]
fn docker(fixture: &Fixture, path: &Path) -> DockerArchive {
    DockerArchive::open(Archive::open(path, &scratch(fixture)).unwrap()).unwrap()
}

/// What skopeo says the image's configuration is.
fn config_of(place: &str) -> String {
    sha256(skopeo(&["inspect", "--config", "--raw", place]).as_bytes()).to_string()
}

#[test]
fn skopeo_reads_the_archives_that_we_write() {
    let fixture = Fixture::new();
    let path = |name: &str| fixture.dir.path().join(name);
    for from_docker in [false, true] {
        three_layers(&fixture, from_docker);
        let id = fixture.pull("").unwrap().image;
        let source = OciLayout::open(&fixture.oci(), None, "").unwrap();
        // From the store, and past it.
        for direct in [false, true] {
            let send = |destination: &dyn Destination| match direct {
                true => copy(&source, destination, &CopyOptions::default(), &mut Silent),
                false => {
                    let options = PushOptions::default();
                    push(&fixture.store, &id, None, destination, &options, &mut Silent)
                }
            };
            let file = path(&format!("{from_docker}-{direct}.tar"));
            let writer = DockerArchiveWriter::new(Output::new_file(&file, &scratch(&fixture)).unwrap());
            send(&writer.image(vec![NAME.to_owned()])).unwrap();
            assert!(!file.exists(), "it appears when it is whole");
            writer.finish().unwrap();
            let place = format!("docker-archive:{}", file.display());
            assert_eq!(config_of(&place), id.to_string());
            assert_eq!(config_of(&format!("{place}:{NAME}")), id.to_string());
            // It reads every blob and verifies it.
            skopeo(&["copy", &place, &format!("dir:{}", path("theirs").display())]);
            let archive = docker(&fixture, &file);
            comes_back(&archive.image(NAME).unwrap(), &id);
            assert!(matches!(Output::new_file(&file, &scratch(&fixture)), Err(Error::Exists { .. })));

            let writer = OciArchiveWriter::new(Output::file(&file, &scratch(&fixture)).unwrap());
            let digest = send(&writer.image(Some("x"))).unwrap().digest;
            writer.finish().unwrap();
            let place = format!("oci-archive:{}:x", file.display());
            assert_eq!(sha256(skopeo(&["inspect", "--raw", &place]).as_bytes()), digest);
            assert_eq!(config_of(&place), id.to_string());
            skopeo(&["copy", &place, &format!("dir:{}", path("theirs").display())]);
            let archive = Archive::open(&file, &scratch(&fixture)).unwrap();
            comes_back(&OciLayout::in_archive(archive, "x").unwrap(), &id);
        }
    }
}

#[test]
fn the_archives_that_skopeo_writes_are_read() {
    let fixture = Fixture::new();
    // Docker's format knows no zstd.
    three_layers(&fixture, true);
    let id = fixture.pull("").unwrap().image;
    let from = format!("oci:{}", fixture.oci().display());
    let path = |name: &str| fixture.dir.path().join(name);
    let (theirs, oci) = (path("docker.tar"), path("oci.tar"));
    skopeo(&["copy", &from, &format!("docker-archive:{}:{NAME}", theirs.display())]);
    skopeo(&["copy", &from, &format!("oci-archive:{}:x", oci.display())]);
    let their_id = config_of(&format!("docker-archive:{}", theirs.display()));
    assert_eq!(their_id, id.to_string());
    let archive = docker(&fixture, &theirs);
    assert_eq!((archive.count(), archive.image("").unwrap().tags()), (1, &[NAME.to_owned()][..]));
    for which in ["", "@0", NAME, "localhost/app:1"] {
        let image = archive.image(which).unwrap();
        let pulled = pull(&image, &fixture.store, None, &Options::default(), &mut Silent).unwrap();
        assert_eq!(pulled.image.to_string(), their_id);
    }
    for which in ["@1", "other", "@x", "UPPER"] {
        assert!(matches!(archive.image(which), Err(Error::NotInLayout { .. })), "{which}");
    }
    let layout = |which| OciLayout::in_archive(Archive::open(&oci, &scratch(&fixture)).unwrap(), which);
    // In OCI's format skopeo writes the configuration anew, so its image has an id of its own.
    let oci_id = config_of(&format!("oci-archive:{}:x", oci.display()));
    let pulled = pull(&layout("x").unwrap(), &fixture.store, None, &Options::default(), &mut Silent).unwrap();
    assert_eq!(pulled.image.to_string(), oci_id);
    assert!(matches!(layout("y"), Err(Error::NotInLayout { .. })));
    // The same compressed as a whole, and as a stream.
    for compressed in
        [gzip(&fs::read(&theirs).unwrap()), zstd::encode_all(File::open(&theirs).unwrap(), 1).unwrap()]
    {
        fs::write(path("compressed"), &compressed).unwrap();
        let archive = docker(&fixture, &path("compressed"));
        assert_eq!(
            archive.image("").unwrap().manifest(None).unwrap().bytes,
            docker(&fixture, &theirs).image("").unwrap().manifest(None).unwrap().bytes
        );
        let stream = Archive::read(&mut &compressed[..], "a stream", &scratch(&fixture)).unwrap();
        assert_eq!(DockerArchive::open(stream).unwrap().count(), 1);
    }
}

#[test]
fn several_images_and_names_share_an_archive_and_its_layers() {
    let fixture = Fixture::new();
    let shared = tar("a", b"shared");
    let file = fixture.dir.path().join("all.tar");
    let writer = DockerArchiveWriter::new(Output::file(&file, &scratch(&fixture)).unwrap());
    for (name, content) in [("one", "1"), ("two", "2"), ("again", "1")] {
        let own = tar("b", content.as_bytes());
        let layers = [(PLAIN, &shared[..], &shared[..]), (PLAIN, &own, &own), (PLAIN, &own, &own)];
        fixture.index(&[image(&fixture, &layers, false, &host())]);
        let source = OciLayout::open(&fixture.oci(), None, "").unwrap();
        let tags = vec![format!("localhost/{name}:latest")];
        copy(&source, &writer.image(tags), &CopyOptions::default(), &mut Silent).unwrap();
    }
    writer.finish().unwrap();
    let archive = docker(&fixture, &file);
    assert_eq!(archive.count(), 2);
    let tags: Vec<_> = (0..2).map(|i| archive.at(i).unwrap().unwrap().tags().to_vec()).collect();
    assert_eq!(tags, [vec!["localhost/one:latest", "localhost/again:latest"], vec!["localhost/two:latest"]]);
    assert!(archive.at(2).is_none());
    assert!(matches!(archive.image(""), Err(Error::Several { count: 2, .. })));
    let mut members = Vec::new();
    for entry in tar::Archive::new(File::open(&file).unwrap()).entries().unwrap() {
        members.push(entry.unwrap().path().unwrap().display().to_string());
    }
    assert_eq!(members.iter().filter(|name| name.ends_with(".tar")).count(), 3, "{members:?}");
    assert_eq!(members.iter().filter(|name| name.ends_with(".json")).count(), 3, "{members:?}");
    let places = ["one", "two", "again"]
        .map(|name| format!("docker-archive:{}:localhost/{name}:latest", file.display()));
    assert_eq!(config_of(&places[0]), config_of(&places[2]));
    assert_ne!(config_of(&places[0]), config_of(&places[1]));
}

/// An archive of members, links with `->`.
fn archive_of(fixture: &Fixture, members: &[(&str, &[u8])]) -> std::path::PathBuf {
    let path = fixture.dir.path().join("made.tar");
    let mut builder = tar::Builder::new(File::create(&path).unwrap());
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        if let Some((name, target)) = name.split_once("->") {
            header.set_size(0);
            header.set_entry_type(tar::EntryType::Symlink);
            builder.append_link(&mut header, name, target).unwrap();
        } else {
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, *content).unwrap();
        }
    }
    builder.finish().unwrap();
    path
}

#[test]
fn old_archives_with_links_and_compressed_layers_are_read() {
    let fixture = Fixture::new();
    let (one, two) = (tar("a", b"one"), tar("b", b"two"));
    let config = config(&host(), &[sha256(&one), sha256(&two), sha256(&one)]);
    let manifest =
        br#"[{"Config":"c.json","RepoTags":null,"Layers":["1/layer.tar","2/layer.tar","3/layer.tar"]}]"#;
    let path = archive_of(
        &fixture,
        &[
            ("1/VERSION", b"1.0"),
            ("1/layer.tar", &one),
            ("2/layer.tar", &gzip(&two)),
            ("3/layer.tar->../1/layer.tar", b""),
            ("c.json", &config),
            ("manifest.json", manifest),
            ("repositories", b"{}"),
        ],
    );
    let archive = docker(&fixture, &path);
    let image = archive.image("").unwrap();
    let pulled = pull(&image, &fixture.store, None, &Options::default(), &mut Silent).unwrap();
    assert_eq!(*pulled.image.digest(), sha256(&config));
    assert_eq!(
        (fixture.read(&pulled.image, "a"), fixture.read(&pulled.image, "b")),
        ("one".into(), "two".into())
    );
}

#[test]
fn what_an_archive_says_is_not_believed() {
    let fixture = Fixture::new();
    let layer = tar("a", b"one");
    let good = config(&host(), &[sha256(&layer)]);
    let list = |config: &str, layers: &str| {
        format!(r#"[{{"Config":"{config}","RepoTags":["x:y"],"Layers":[{layers}]}}]"#).into_bytes()
    };
    let fine = list("c", r#""l""#);
    let read = |members: &[(&str, &[u8])]| -> Result<(), Error> {
        let path = archive_of(&fixture, members);
        let archive = DockerArchive::open(Archive::open(&path, &scratch(&fixture))?)?;
        let image = archive.image("")?;
        pull(&image, &fixture.store, None, &Options::default(), &mut Silent).map(|_| ())
    };
    read(&[("c", &good), ("l", &layer), ("manifest.json", &fine)]).unwrap();
    let other = config(&host(), &[sha256(b"other")]);
    let huge = vec![b' '; (4 << 20) + 1];
    let outside = list("../../../../etc/passwd", r#""l""#);
    let bzip2: &[u8] = b"BZh91AY&SY";
    type Members<'m> = &'m [(&'m str, &'m [u8])];
    let cases: &[(Members<'_>, &str)] = &[
        (&[("c", &other), ("l", &layer), ("manifest.json", &fine)], "expected"),
        (&[("c", &good), ("manifest.json", &fine)], "has no l"),
        (&[("l", &layer), ("manifest.json", &fine)], "has no c"),
        (&[("c", &good), ("l", &layer), ("manifest.json", &outside)], "has no ../../../../etc/passwd"),
        (&[("c->/etc/passwd", b""), ("l", &layer), ("manifest.json", &fine)], "leads nowhere in the archive"),
        (&[("c->c", b""), ("l", &layer), ("manifest.json", &fine)], "leads nowhere in the archive"),
        (&[("c", &huge), ("l", &layer), ("manifest.json", &fine)], "more than 4194304 are not accepted"),
        (&[("c", &good), ("l", &layer), ("manifest.json", &huge)], "more than 4194304 are not accepted"),
        (&[("c", b"{}"), ("l", &layer), ("manifest.json", &fine)], "is malformed"),
        (&[("c", &good), ("l", &layer), ("manifest.json", b"{}")], "is malformed"),
        (&[("c", &good), ("l", &layer), ("manifest.json", b"[]")], "holds 0 images"),
        (&[("c", &good), ("l", &layer), ("manifest.json", &list("c", ""))], "has 0 layers"),
        (&[("c", &good), ("l", bzip2), ("manifest.json", &fine)], "compressed with bzip2"),
        (&[("c", &good), ("l", b"\x1f\x8b\x08junk"), ("manifest.json", &fine)], "cannot read layer"),
        (&[("c", &good), ("l", &layer), ("l", &layer), ("manifest.json", &fine)], "twice"),
        (&[("c", &good), ("l", &layer), ("repositories", b"{}")], "Docker before 1.10"),
        (&[("c", &good)], "has no manifest.json"),
    ];
    fixture.store.images().unwrap().iter().for_each(|i| drop(fixture.store.remove_image(&i.image.id, true)));
    fixture.store.gc().unwrap();
    for (members, expected) in cases {
        let text = chain(&read(members).unwrap_err());
        assert!(text.contains(expected), "{text:?} does not contain {expected:?}");
        assert!(fixture.store.images().unwrap().is_empty());
    }
    for (bytes, expected) in
        [(&b"no tar at all"[..], "truncated"), (&[b'x'; 4096], "malformed"), (bzip2, "decompress it first")]
    {
        let path = fixture.dir.path().join("junk");
        fs::write(&path, bytes).unwrap();
        let text = chain(&Archive::open(&path, &scratch(&fixture)).unwrap_err());
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn an_archive_that_fails_does_not_appear() {
    let fixture = Fixture::new();
    three_layers(&fixture, false);
    let file = fixture.dir.path().join("out.tar");
    fs::write(&file, "older").unwrap();
    for entry in fs::read_dir(fixture.oci().join("blobs/sha256")).unwrap().map(Result::unwrap) {
        let good = fs::read(entry.path()).unwrap();
        let mut other = good.clone();
        other[0] ^= 1;
        for bad in [&good[..good.len() - 1], &other] {
            fs::write(entry.path(), bad).unwrap();
            let Ok(source) = OciLayout::open(&fixture.oci(), None, "") else { continue };
            let docker = DockerArchiveWriter::new(Output::file(&file, &scratch(&fixture)).unwrap());
            let oci = OciArchiveWriter::new(Output::file(&file, &scratch(&fixture)).unwrap());
            copy(&source, &docker.image(Vec::new()), &CopyOptions::default(), &mut Silent).unwrap_err();
            copy(&source, &oci.image(None), &CopyOptions::default(), &mut Silent).unwrap_err();
        }
        fs::write(entry.path(), good).unwrap();
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "older");
    let left: Vec<_> = fs::read_dir(fixture.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
    assert!(fs::read_dir(fixture.store.root().join("staging")).unwrap().next().is_none());
}

#[test]
fn layers_of_an_archive_are_compressed_where_that_is_usual() {
    let fixture = Fixture::new();
    three_layers(&fixture, true);
    let id = fixture.pull("").unwrap().image;
    let file = fixture.dir.path().join("a.tar");
    let writer = DockerArchiveWriter::new(Output::file(&file, &scratch(&fixture)).unwrap());
    push(&fixture.store, &id, None, &writer.image(Vec::new()), &PushOptions::default(), &mut Silent).unwrap();
    writer.finish().unwrap();
    let archive = docker(&fixture, &file);
    let layout = fixture.dir.path().join("layout");
    let to = OciLayoutWriter::open(&layout, None, Some("x")).unwrap();
    copy(&archive.image("").unwrap(), &to, &CopyOptions::default(), &mut Silent).unwrap();
    drop(to);
    let raw = skopeo(&["inspect", "--raw", &format!("oci:{}:x", layout.display())]);
    assert_eq!(raw.matches("layer.v1.tar+gzip").count(), 3, "{raw}");
    comes_back(&OciLayout::open(&layout, None, "x").unwrap(), &id);
}

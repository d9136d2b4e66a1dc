//! Images of the store on their way out: read by skopeo, and pulled again.

#[expect(dead_code, reason = "uses its own part of what the tests share")]
mod common;

use std::path::Path;
use std::process::Command;

use common::{DOCKER_GZIP, Fixture, GZIP, PLAIN, ZSTD, chain, gzip, host, image, tar};
use loment_image::{
    Compression, Copied, Error, Format, ImageDir, OciLayout, OciLayoutWriter, Options, PushOptions, Silent,
    Source, pull, push,
};
use loment_store::ImageId;

/// Three layers, compressed in different ways; pulled.
fn pulled(fixture: &Fixture, docker: bool) -> ImageId {
    let tars = ["a", "b", "c"].map(|name| tar(name, format!("this is {name}\n").repeat(5000).as_bytes()));
    let blobs = [gzip(&tars[0]), zstd::encode_all(&tars[1][..], 1).unwrap(), tars[2].clone()];
    let types = if docker { [DOCKER_GZIP, DOCKER_GZIP, DOCKER_GZIP] } else { [GZIP, ZSTD, PLAIN] };
    let blobs = if docker { tars.each_ref().map(|tar| gzip(tar)) } else { blobs };
    let layers: Vec<_> =
        types.into_iter().zip(&blobs).zip(&tars).map(|((m, b), t)| (m, &b[..], &t[..])).collect();
    fixture.index(&[image(fixture, &layers, docker, &host())]);
    fixture.pull("").unwrap().image
}

fn send(fixture: &Fixture, id: &ImageId, layout: &Path, options: &PushOptions) -> Result<Copied, Error> {
    let writer = OciLayoutWriter::open(layout, None, Some("x")).unwrap();
    push(&fixture.store, id, None, &writer, options, &mut Silent)
}

fn manifest(source: &dyn Source) -> serde_json::Value {
    serde_json::from_slice(&source.manifest(None).unwrap().bytes).unwrap()
}

/// Another store has the same image after pulling it from there, and skopeo agrees with every byte.
#[track_caller]
fn comes_back(id: &ImageId, layout: &Path) {
    let other = Fixture::new();
    let source = OciLayout::open(layout, None, "x").unwrap();
    let back = pull(&source, &other.store, None, &Options::default(), &mut Silent).unwrap();
    assert_eq!(back.image, *id);
    assert_eq!(other.read(id, "b"), "this is b\n".repeat(5000));
    let (from, to) = (format!("oci:{}:x", layout.display()), other.dir.path().join("theirs"));
    let copied = Command::new("skopeo")
        .args(["--insecure-policy", "copy", &from, &format!("dir:{}", to.display())])
        .output()
        .expect("skopeo is installed for the tests");
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
}

#[test]
fn an_image_goes_out_and_comes_back_the_same() {
    let fixture = Fixture::new();
    for docker in [false, true] {
        let id = pulled(&fixture, docker);
        for (compression, end) in
            [(Compression::Gzip, "gzip"), (Compression::Zstd, "zstd"), (Compression::None, "tar")]
        {
            let layout = fixture.dir.path().join(format!("{docker}-{end}"));
            let options = PushOptions { compression, ..PushOptions::default() };
            let first = send(&fixture, &id, &layout, &options).unwrap();
            assert_eq!(first.sent, 3);
            let written = manifest(&OciLayout::open(&layout, None, "x").unwrap());
            for layer in written["layers"].as_array().unwrap() {
                assert!(layer["mediaType"].as_str().unwrap().ends_with(end), "{written}");
            }
            comes_back(&id, &layout);
            // The same bytes again are there already.
            let again = send(&fixture, &id, &layout, &options).unwrap();
            assert_eq!((again.sent, &again.digest), (0, &first.digest));
        }
    }
}

#[test]
fn an_image_whose_layers_are_there_keeps_its_manifest() {
    let fixture = Fixture::new();
    let id = pulled(&fixture, false);
    let record = fixture.store.image(&id).unwrap().unwrap();
    // The layout that it was pulled from has everything.
    let sent = send(&fixture, &id, &fixture.oci(), &PushOptions::default()).unwrap();
    assert_eq!((sent.sent, &sent.digest), (0, &record.manifests[0]));
    // Unless that is not what is wanted.
    let forced = PushOptions { force_compression: true, ..PushOptions::default() };
    let sent = send(&fixture, &id, &fixture.oci(), &forced).unwrap();
    assert_eq!(sent.sent, 2, "one is compressed with gzip already");
    comes_back(&id, &fixture.oci());
}

#[test]
fn the_format_can_be_chosen() {
    let fixture = Fixture::new();
    let id = pulled(&fixture, false);
    let dir = fixture.dir.path().join("dir");
    let to = |options: &PushOptions| {
        drop(std::fs::remove_dir_all(&dir));
        let writer = ImageDir::create(&dir).unwrap();
        push(&fixture.store, &id, None, &writer, options, &mut Silent)
            .map(|_| manifest(&ImageDir::open(&dir)))
    };
    let docker = PushOptions { format: Some(Format::Docker), ..PushOptions::default() };
    let written = to(&docker).unwrap();
    assert_eq!(written["mediaType"], common::DOCKER_MANIFEST);
    assert_eq!(written["config"]["mediaType"], common::DOCKER_CONFIG);
    assert_eq!(written["layers"][1]["mediaType"], DOCKER_GZIP);
    let zstd = PushOptions { compression: Compression::Zstd, ..docker };
    let error = to(&zstd).unwrap_err();
    assert!(chain(&error).contains("Docker's format does not know"), "{error}");
    assert!(!dir.join("manifest.json").exists());
    let written = to(&PushOptions { compression: Compression::Zstd, ..PushOptions::default() }).unwrap();
    assert_eq!(written["mediaType"], common::OCI_MANIFEST);
}

#[test]
fn a_layer_that_is_damaged_is_not_sent() {
    let fixture = Fixture::new();
    let id = pulled(&fixture, false);
    let record = fixture.store.image(&id).unwrap().unwrap();
    let dirs = fixture.store.layer_dirs(&record).unwrap();
    let file = dirs.iter().map(|dir| dir.join("b")).find(|file| file.exists()).unwrap();
    let layout = fixture.dir.path().join("layout");
    for bad in ["short", &"this is x\n".repeat(5000)] {
        std::fs::write(&file, bad).unwrap();
        let error = send(&fixture, &id, &layout, &PushOptions::default()).unwrap_err();
        assert!(chain(&error).contains("is corrupt"), "{}", chain(&error));
        assert!(!layout.join("index.json").exists());
    }
}

//! Images in another format or compression on the way from place to place; skopeo reads what comes out.

#[expect(dead_code, reason = "uses its own part of what the tests share")]
mod common;

use std::path::{Path, PathBuf};

use common::{Fixture, GZIP, OCI_INDEX, PLAIN, ZSTD, chain, gzip, host, image, skopeo, tar};
use loment_image::{
    Compression, CopyOptions, Error, Format, ImageDir, Images, Layers, OciLayout, OciLayoutWriter, Options,
    Silent, Source, copy, pull,
};
use serde_json::Value;

/// A layout with an index of two images with a layer of each kind, one of them in both.
fn index(fixture: &Fixture) -> PathBuf {
    let shared = tar("shared", &b"of both\n".repeat(3000));
    let member = |platform: &str| {
        let own = [tar("a", platform.repeat(2000).as_bytes()), tar("b", platform.repeat(3000).as_bytes())];
        let blobs = [zstd::encode_all(&own[0][..], 1).unwrap(), own[1].clone(), gzip(&shared)];
        let layers =
            [(ZSTD, &blobs[0][..], &own[0][..]), (PLAIN, &blobs[1], &own[1]), (GZIP, &blobs[2], &shared)];
        let descriptor = image(fixture, &layers, false, platform);
        let (os, architecture) = platform.split_once('/').unwrap();
        let end = format!(r#","platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#);
        descriptor.strip_suffix('}').unwrap().to_owned() + &end
    };
    let members = [member(&host()), member("linux/s390x")].join(",");
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{members}],"annotations":{{"k":"v"}}}}"#
    );
    fixture.index(&[fixture.blob(OCI_INDEX, text.as_bytes())]);
    fixture.oci()
}

fn manifest(source: &dyn Source, digest: Option<&str>) -> Value {
    let digest = digest.map(|digest| digest.parse().unwrap());
    serde_json::from_slice(&source.manifest(digest.as_ref()).unwrap().bytes).unwrap()
}

fn to_dir(from: &Path, to: &Path, options: &CopyOptions) -> Result<String, Error> {
    let source = OciLayout::open(from, None, "")?;
    copy(&source, &ImageDir::create(to)?, options, &mut Silent).map(|copied| copied.digest.to_string())
}

/// The ends of the layers' media types, and whether all is Docker's.
#[track_caller]
fn forms(manifest: &Value) -> (Vec<&str>, bool) {
    let types: Vec<_> =
        manifest["layers"].as_array().unwrap().iter().map(|l| l["mediaType"].as_str().unwrap()).collect();
    let docker = manifest["mediaType"].as_str().unwrap().contains("docker");
    assert!(types.iter().all(|kind| kind.contains("docker") == docker), "{manifest}");
    assert_eq!(manifest["config"]["mediaType"].as_str().unwrap().contains("docker"), docker, "{manifest}");
    (types.iter().map(|kind| kind.rsplit(['.', '+']).next().unwrap()).collect(), docker)
}

#[test]
fn layers_and_manifests_get_the_form_that_is_asked_for() {
    let fixture = Fixture::new();
    let from = index(&fixture);
    let id = fixture.pull("").unwrap().image;
    let as_they_are = ["zstd", "tar", "gzip"];
    for (layers, format, expected) in [
        (Layers::Keep, None, as_they_are),
        (Layers::Compress(Compression::Gzip), None, ["zstd", "gzip", "gzip"]),
        (Layers::Compress(Compression::Zstd), None, ["zstd", "zstd", "gzip"]),
        (Layers::As(Compression::Gzip), None, ["gzip"; 3]),
        (Layers::As(Compression::Zstd), Some(Format::Oci), ["zstd"; 3]),
        (Layers::As(Compression::None), None, ["tar"; 3]),
        (Layers::As(Compression::Gzip), Some(Format::Docker), ["gzip"; 3]),
        (Layers::As(Compression::None), Some(Format::Docker), ["tar"; 3]),
    ] {
        let dir = fixture.dir.path().join("dir");
        let options = CopyOptions { layers, format, level: None, ..CopyOptions::default() };
        let digest = to_dir(&from, &dir, &options).unwrap_or_else(|e| panic!("{}", chain(&e)));
        let written = ImageDir::open(&dir);
        assert_eq!(forms(&manifest(&written, None)), (expected.to_vec(), format == Some(Format::Docker)));
        // The same image, which everybody can read.
        let other = Fixture::new();
        let pulled = pull(&written, &other.store, None, &Options::default(), &mut Silent).unwrap();
        assert_eq!((&pulled.image, pulled.digest.to_string()), (&id, digest));
        assert_eq!(other.read(&id, "a"), host().repeat(2000));
        skopeo(&[
            "copy",
            &format!("dir:{}", dir.display()),
            &format!("dir:{}", other.dir.path().join("x").display()),
        ]);
        // Nothing that was asked for twice is done twice.
        let again = OciLayoutWriter::open(&fixture.dir.path().join("again"), None, Some("x")).unwrap();
        let first = copy(&written, &again, &CopyOptions::default(), &mut Silent).unwrap();
        assert_eq!(first.digest == pulled.digest, format != Some(Format::Docker));
    }
    let dir = fixture.dir.path().join("dir");
    let docker = CopyOptions { format: Some(Format::Docker), ..CopyOptions::default() };
    assert!(
        chain(&to_dir(&from, &dir, &docker).unwrap_err()).contains("which Docker's format does not know")
    );
}

#[test]
fn an_index_lists_what_its_images_have_become() {
    let fixture = Fixture::new();
    let from = index(&fixture);
    let dir = fixture.dir.path().join("dir");
    for format in [Format::Docker, Format::Oci] {
        let layers = Layers::As(Compression::Gzip);
        let options =
            CopyOptions { images: Images::All, layers, format: Some(format), ..CopyOptions::default() };
        to_dir(&from, &dir, &options).unwrap_or_else(|e| panic!("{}", chain(&e)));
        let written = ImageDir::open(&dir);
        let list = manifest(&written, None);
        assert_eq!(list["mediaType"].as_str().unwrap().contains("docker"), format == Format::Docker);
        assert_eq!(list["annotations"]["k"], "v");
        let members = list["manifests"].as_array().unwrap();
        let shared = members.iter().map(|member| {
            assert_eq!(member["mediaType"].as_str().unwrap().contains("docker"), format == Format::Docker);
            let image = manifest(&written, member["digest"].as_str());
            assert_eq!(forms(&image), (vec!["gzip"; 3], format == Format::Docker));
            image["layers"][2]["digest"].clone()
        });
        let shared: Vec<_> = shared.collect();
        assert_eq!(shared[0], shared[1], "a layer of both stays one of both");
        assert_eq!(members[1]["platform"]["architecture"], "s390x");
        let theirs = format!("dir:{}", fixture.dir.path().join("theirs").display());
        skopeo(&["copy", "--all", "--preserve-digests", &format!("dir:{}", dir.display()), &theirs]);
    }
    // The index alone.
    let alone = CopyOptions { images: Images::Index, ..CopyOptions::default() };
    let source = OciLayout::open(&from, None, "").unwrap();
    let all = copy(&source, &ImageDir::create(&dir).unwrap(), &alone, &mut Silent).unwrap();
    assert_eq!(all.sent, 0);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), ["manifest.json", "version"].len());
}

#[test]
fn digests_are_preserved_or_the_copy_fails() {
    let fixture = Fixture::new();
    let from = index(&fixture);
    let dir = fixture.dir.path().join("dir");
    let with = |images, layers, format| {
        let options =
            CopyOptions { images, layers, format, preserve_digests: true, ..CopyOptions::default() };
        to_dir(&from, &dir, &options)
    };
    for images in [Images::All, CopyOptions::default().images] {
        with(images.clone(), Layers::Keep, None).unwrap();
        with(images.clone(), Layers::Keep, Some(Format::Oci)).unwrap();
        let shown = std::fs::read(dir.join("manifest.json")).unwrap();
        for (layers, format) in [
            (Layers::As(Compression::Gzip), None),
            (Layers::Compress(Compression::Zstd), None),
            (Layers::As(Compression::Gzip), Some(Format::Docker)),
        ] {
            let error = with(images.clone(), layers, format).unwrap_err();
            assert!(matches!(error, Error::Preserve { .. }), "{}", chain(&error));
            assert_eq!(std::fs::read(dir.join("manifest.json")).unwrap(), shown);
        }
    }
}

#[test]
fn a_layer_that_is_not_what_was_announced_is_not_changed_either() {
    let fixture = Fixture::new();
    let from = index(&fixture);
    let options = CopyOptions { layers: Layers::As(Compression::Zstd), ..CopyOptions::default() };
    let dir = fixture.dir.path().join("dir");
    for entry in std::fs::read_dir(fixture.oci().join("blobs/sha256")).unwrap().map(Result::unwrap) {
        let good = std::fs::read(entry.path()).unwrap();
        for at in [0, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            std::fs::write(entry.path(), &bad).unwrap();
            // What is there already is not read again.
            drop(std::fs::remove_dir_all(&dir));
            let all = CopyOptions { images: Images::All, ..options.clone() };
            to_dir(&from, &dir, &all).unwrap_err();
            assert!(!dir.join("manifest.json").exists());
        }
        std::fs::write(entry.path(), &good).unwrap();
    }
    to_dir(&from, &dir, &options).unwrap();
}

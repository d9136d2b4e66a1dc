//! Images in Docker's first format, from registries that fail. Needs root.

#[expect(dead_code, reason = "uses its own part of what the tests share")]
mod common;

use common::server::{Answer, Server, source_of};
use common::{Fixture, chain, gzip, tar};
use loment_image::{Options, Silent, pull};
use loment_store::sha256;

/// A manifest of one layer, which nobody has signed.
fn manifest(blob: &[u8]) -> Vec<u8> {
    let digest = sha256(blob);
    let history =
        r#"{\"id\":\"1\",\"os\":\"linux\",\"architecture\":\"amd64\",\"created\":\"2024-01-02T03:04:05Z\"}"#;
    format!(
        r#"{{"schemaVersion":1,"name":"x","tag":"1","architecture":"amd64","fsLayers":[{{"blobSum":"{digest}"}}],"history":[{{"v1Compatibility":"{history}"}}]}}"#
    )
    .into_bytes()
}

/// A registry that has it, and answers what asks for the layer as it is told to.
fn server(blob: &[u8], layer: impl Fn(&str) -> Option<Answer> + Send + Sync + 'static) -> Server {
    let manifest = manifest(blob);
    Server::start(move |what| match what {
        "GET /v2/x/manifests/1" => Some(Answer::whole(&manifest)),
        blob if blob.contains("/blobs/") => layer(blob),
        _ => Some(Answer::whole(b"{}")),
    })
}

/// A layer that is not the same anywhere.
fn layer() -> Vec<u8> {
    let numbers: Vec<u8> =
        (0..60_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    tar("f", &numbers)
}

fn options() -> Options {
    Options { platform: "linux/amd64".parse().unwrap(), ..Options::default() }
}

#[test]
fn a_layer_that_a_mirror_breaks_off_comes_from_the_next_place_from_there_on() {
    let fixture = Fixture::new();
    let (tar, half) = (layer(), 50_000);
    let blob = gzip(&tar);
    let (cut, whole) = (blob.clone(), blob.clone());
    let dying = server(&blob, move |_| Some(Answer { most: half, ..Answer::whole(&cut) }));
    let sound = server(&blob, move |_| Some(Answer::whole(&whole)));
    let source = source_of(&[&dying, &sound], "x:1");
    let pulled = pull(&source, &fixture.store, None, &options(), &mut Silent)
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    let record = fixture.store.image(&pulled.image).unwrap().unwrap();
    assert_eq!(*record.layers[0].digest(), sha256(&tar));
    let asked = sound.requests();
    assert!(asked.iter().any(|request| request.ends_with(&format!(" {half}"))), "{asked:?}");
}

#[test]
fn a_layer_that_a_mirror_has_wrong_comes_from_the_next_place() {
    let fixture = Fixture::new();
    let tar = layer();
    let blob = gzip(&tar);
    let (mut wrong, whole) = (blob.clone(), blob.clone());
    wrong.pop();
    let lying = server(&blob, move |_| Some(Answer::whole(&wrong)));
    let sound = server(&blob, move |_| Some(Answer::whole(&whole)));
    let source = source_of(&[&lying, &sound], "x:1");
    let pulled = pull(&source, &fixture.store, None, &options(), &mut Silent)
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    let record = fixture.store.image(&pulled.image).unwrap().unwrap();
    assert_eq!(*record.layers[0].digest(), sha256(&tar));
}

#[test]
fn a_wrong_length_in_the_answer_to_head_is_not_the_end() {
    for wrong in [-10, 10] {
        let fixture = Fixture::new();
        let tar = layer();
        let blob = gzip(&tar);
        let (mut said, whole) = (blob.clone(), blob.clone());
        said.resize(blob.len().checked_add_signed(wrong).unwrap(), 0);
        let server = server(&blob, move |what| {
            Some(Answer::whole(if what.starts_with("HEAD ") { &said } else { &whole }))
        });
        let pulled = pull(&server.source("x:1"), &fixture.store, None, &options(), &mut Silent)
            .unwrap_or_else(|error| panic!("{wrong}: {}", chain(&error)));
        let record = fixture.store.image(&pulled.image).unwrap().unwrap();
        assert_eq!(*record.layers[0].digest(), sha256(&tar));
    }
}

#[test]
fn a_layer_is_not_longer_than_its_registry_says() {
    let fixture = Fixture::new();
    let tar = layer();
    let blob = gzip(&tar);
    let (said, mut longer) = (blob.clone(), blob.clone());
    longer.resize(blob.len() + (32 << 20), 0);
    let server = server(&blob, move |what| {
        let sent = Answer { announced: false, ..Answer::whole(&longer) };
        Some(if what.starts_with("HEAD ") { Answer::whole(&said) } else { sent })
    });
    let error = pull(&server.source("x:1"), &fixture.store, None, &options(), &mut Silent).unwrap_err();
    let expected =
        format!("layer {} is {} bytes long, expected {}", sha256(&blob), blob.len() + 1, blob.len());
    assert_eq!(chain(&error), expected);
}

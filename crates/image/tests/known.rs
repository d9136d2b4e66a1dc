//! What a store knows of blobs: that of those only which were read here. Needs root.

#[expect(dead_code, reason = "uses its own part of what the tests share")]
mod common;

use common::{Fixture, GZIP, chain, digest_of, gzip, host, image, tar};
use loment_image::{OciLayoutWriter, PushOptions, Silent, push};
use loment_store::{ImageId, Layer, LayerBlob, sha256};
use oci_spec::image::Digest;

/// The only layer of an image.
fn layer(fixture: &Fixture, id: &ImageId) -> Layer {
    let record = fixture.store.image(id).unwrap().unwrap();
    fixture.store.layers_of(&record).unwrap().pop().unwrap()
}

/// The blobs that are known to be forms of it.
fn forms(layer: &Layer) -> Vec<Digest> {
    layer.blobs().iter().map(|blob| blob.digest.clone()).collect()
}

#[test]
fn a_push_records_no_form_of_a_layer_that_nobody_has_seen() {
    let fixture = Fixture::new();
    let (mine, others) = (tar("f", b"mine"), tar("f", b"others"));
    let blobs = [gzip(&mine), gzip(&others)];
    let honest = image(&fixture, &[(GZIP, &blobs[0], &mine)], false, &host());
    // The same configuration, and for its layer the blob of another image.
    let lying = image(&fixture, &[(GZIP, &blobs[1], &mine)], false, &host());
    let other = image(&fixture, &[(GZIP, &blobs[1], &others)], false, &host());
    fixture.index(&[honest, lying, other.clone()]);
    let id = fixture.pull("@0").unwrap().image;
    let lying = fixture.pull("@1").unwrap();
    assert_eq!((&lying.image, lying.fetched), (&id, 0), "its layer is here");
    // The layout that it came from has that blob.
    let writer = OciLayoutWriter::open(&fixture.oci(), None, Some("x")).unwrap();
    let options = PushOptions::default();
    let sent = push(&fixture.store, &id, Some(&lying.manifest), &writer, &options, &mut Silent).unwrap();
    assert_eq!((sent.sent, sent.digest), (0, lying.manifest));
    assert!(fixture.store.layer_by_blob(&sha256(&blobs[1])).unwrap().is_none());
    assert_eq!(forms(&layer(&fixture, &id)), [sha256(&blobs[0])]);
    // So whose blob it is gets what is his.
    let other = fixture.pull(&digest_of(&other)).unwrap();
    assert_eq!((other.fetched, fixture.read(&other.image, "f")), (1, "others".to_owned()));
}

#[test]
fn a_blob_that_was_taken_for_another_layer_is_fetched_and_says_whose_it_is() {
    let fixture = Fixture::new();
    let tars = ["one", "two", "three"].map(|name| tar("f", name.as_bytes()));
    let [one, two] = [&tars[0], &tars[1]].map(|tar| gzip(tar));
    fixture.index(&[
        image(&fixture, &[(GZIP, &one, &tars[0])], false, &host()),
        image(&fixture, &[(GZIP, &two, &tars[1])], false, &host()),
        image(&fixture, &[(GZIP, &two, &tars[2])], false, &host()),
    ]);
    let first = fixture.pull("@0").unwrap().image;
    let (digest, size, media_type) = (sha256(&two), two.len() as u64, GZIP.to_owned());
    let mistaken = LayerBlob { digest: digest.clone(), size, media_type, sent_to: Vec::new() };
    fixture.store.add_blob(layer(&fixture, &first).diff_id(), mistaken).unwrap();
    let second = fixture.pull("@1").unwrap();
    assert_eq!((second.fetched, fixture.read(&second.image, "f")), (1, "two".to_owned()));
    let whose = || fixture.store.layer_by_blob(&digest).unwrap().unwrap().diff_id().clone();
    assert_eq!(*whose().digest(), sha256(&tars[1]));
    assert_eq!(forms(&layer(&fixture, &first)), [sha256(&one)]);
    // A configuration that is mistaken itself changes nothing of that.
    let message = chain(&fixture.pull("@2").unwrap_err());
    assert!(message.contains("layer unpacks to"), "{message}");
    assert_eq!(*whose().digest(), sha256(&tars[1]));
}

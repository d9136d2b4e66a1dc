//! Who makes the layer of a blob, and who waits for that.

mod common;

use std::sync::atomic::{AtomicU32, Ordering};

use common::{Fixture, Tar, open};
use loment_store::{Claim, HashingSource, LayerBlob, sha256};

#[test]
fn who_waits_for_a_blob_can_stop_waiting() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let slot = lease.claim_layer(&sha256(b"blob"), None, || true).unwrap();
    assert!(matches!(slot, Some(Claim::Missing(_))));
    let looked = AtomicU32::new(0);
    // Somebody else's, as another process would have it.
    let other = fixture.store.lease().unwrap();
    let wanted = || looked.fetch_add(1, Ordering::Relaxed) < 3;
    assert!(other.claim_layer(&sha256(b"blob"), None, wanted).unwrap().is_none());
    drop(slot);
    assert!(matches!(other.claim_layer(&sha256(b"blob"), None, || false).unwrap(), Some(Claim::Missing(_))));
}

#[test]
fn the_second_puller_of_a_layer_waits_and_reuses() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let Claim::Missing(slot) = lease.claim_layer(&sha256(b"blob"), None, || true).unwrap().unwrap() else {
        panic!("present")
    };
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let lease = open(fixture.dir.path()).lease().unwrap();
            match lease.claim_layer(&sha256(b"blob"), None, || true).unwrap().unwrap() {
                Claim::Present(layer) => layer.diff_id().clone(),
                Claim::Missing(_) => panic!("made twice"),
            }
        });
        let (digest, media_type) = (sha256(b"blob"), "application/test".into());
        let blob = LayerBlob { digest, size: 4, media_type, sent_to: Vec::new() };
        let tar = Tar::new().file("file", b"a").end();
        let staged = slot.unpack(HashingSource::new(&tar[..])).unwrap();
        let layer = staged.commit(None, Some(blob)).unwrap();
        assert_eq!(waiter.join().unwrap(), *layer.diff_id());
    });
    // One that gives up lets the next one try.
    let Claim::Missing(slot) = lease.claim_layer(&sha256(b"other"), None, || true).unwrap().unwrap() else {
        panic!("present")
    };
    assert!(slot.unpack(HashingSource::new(&b"no tar"[..])).is_err());
    assert!(matches!(
        lease.claim_layer(&sha256(b"other"), None, || true).unwrap().unwrap(),
        Claim::Missing(_)
    ));
}

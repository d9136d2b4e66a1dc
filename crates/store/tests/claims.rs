//! Who makes the layer of a blob, and who waits for that.

mod common;

use std::sync::atomic::{AtomicU32, Ordering};

use common::Fixture;
use loment_store::{Claim, sha256};

#[test]
fn who_waits_for_a_blob_can_stop_waiting() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let slot = lease.claim_layer(&sha256(b"blob"), || true).unwrap();
    assert!(matches!(slot, Some(Claim::Missing(_))));
    let looked = AtomicU32::new(0);
    // Somebody else's, as another process would have it.
    let other = fixture.store.lease().unwrap();
    let wanted = || looked.fetch_add(1, Ordering::Relaxed) < 3;
    assert!(other.claim_layer(&sha256(b"blob"), wanted).unwrap().is_none());
    drop(slot);
    assert!(matches!(other.claim_layer(&sha256(b"blob"), || false).unwrap(), Some(Claim::Missing(_))));
}

//! A containers.conf: whatever is in it, the answer is what it says of transfers and events, or an error of one line; and no file that
//! says something is taken for one that does not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use loment_image::conf::{EventsDefaults, File, TransferDefaults};

fuzz_target!(|text: &str| {
    let file = File { name: "f", text };
    let (transfers, events) = (TransferDefaults::parse([file]), EventsDefaults::parse([file]));
    for told in [transfers.as_ref().err(), events.as_ref().err()].into_iter().flatten() {
        let told = told.to_string();
        assert!(!told.contains('\n') && told.contains('f'), "{told:?}");
    }
    if let Ok(transfers) = transfers {
        assert!(events.is_ok(), "it can be read for one, and not for the other");
        assert_ne!(transfers.parallel, Some(0));
        assert_ne!(transfers.retry_delay.as_deref(), Some(""));
        // What comes after it counts, where it says something: itself says nothing new.
        assert_eq!(TransferDefaults::parse([file, file]), Ok(transfers));
    }
    if let Ok(events) = events {
        // A name that is written with escapes is found by reading only.
        let says = events != EventsDefaults::default() && !text.contains('\\');
        assert!(!says || EventsDefaults::may_be_in(file), "{events:?}");
        assert_eq!(EventsDefaults::parse([file, file]), Ok(events));
    }
});

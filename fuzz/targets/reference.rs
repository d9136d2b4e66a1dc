//! Names of images and of places: what is accepted means the same when it is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use loment_image::{Change, Place, Reference};

fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<Reference>() {
        let again: Reference = reference.to_string().parse().expect("what is shown is a reference");
        assert_eq!(again, reference);
        let short: Reference = reference.familiar().parse().expect("what is shown short is a reference");
        assert_eq!(short.store_name(), reference.store_name());
    }
    if let Ok(place) = Place::parse(text) {
        let again = Place::parse(&place.to_string()).expect("what is shown is a place");
        assert_eq!(again.to_string(), place.to_string());
    }
    let _ = text.parse::<Change>();
});

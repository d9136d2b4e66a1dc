//! A file of registries.d: whatever is in it, the answer is where signatures are, or an error of one line with its place; the same
//! file twice says nothing else, but for what it must not say twice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use loment_image::conf::{File, SignaturePlaces, Subject};

const NAMES: [&str; 5] =
    ["busybox", "h.x/a:1", "h.x:5000/team/app", "a.b.h.x/team/app:latest", "quay.io/x/y"];

fuzz_target!(|text: &str| {
    let file = File { name: "f", text };
    let places = match SignaturePlaces::parse([file]) {
        Ok(places) => places,
        Err(error) => {
            let told = error.to_string();
            assert!(!told.contains('\n') && told.starts_with("parse f: line "), "{told:?}");
            return;
        }
    };
    let mut any = false;
    for name in NAMES {
        let Ok(reference) = name.parse() else { continue };
        let place = places.of(&Subject::docker(&reference));
        any |= place.is_some();
        // What has an empty place has none.
        let empty = |text: &Option<String>| text.as_deref() == Some("");
        assert!(!place.is_some_and(|place| empty(&place.lookaside) || empty(&place.staging)), "{name}");
    }
    match SignaturePlaces::parse([file, File { name: "g", text }]) {
        Ok(twice) => assert!(!any && twice == places, "scopes are said twice"),
        Err(error) => assert!(error.to_string().contains("is said twice, also in f"), "{error}"),
    }
});

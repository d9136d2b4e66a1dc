//! A list of images to sync: whatever is in it, the answer is repositories or an error of one line with its place; and ranges of
//! versions, which are asked about anything.
#![no_main]

use libfuzzer_sys::fuzz_target;
use loment_image::conf::File;
use loment_image::{Versions, Wanted, parse_sync_list};

const TAGS: [&str; 6] = ["latest", "1.0", "v1.2.3", "1.2.3-rc.1", "3.12.0+x", ""];

fuzz_target!(|text: &str| {
    match parse_sync_list(File { name: "f", text }) {
        Ok(list) => {
            for repository in list.iter().flat_map(|registry| &registry.repositories) {
                assert!(repository.name.tag().is_none() && repository.name.digest().is_none());
                let any = TAGS.iter().any(|tag| repository.wanted.has(tag));
                assert!(any || !matches!(repository.wanted, Wanted::All));
            }
        }
        Err(error) => {
            let told = error.to_string();
            assert!(!told.contains('\n') && told.starts_with("parse f: line "), "{told:?}");
        }
    }
    for line in text.lines().take(20) {
        if let Ok(range) = line.parse::<Versions>() {
            for tag in TAGS {
                range.include(tag);
            }
            assert!(!range.include("latest"));
        }
    }
});

//! A storage.conf: whatever is in it, the answer is the limits of containers, or an error of one line with its place; and no file that
//! says some is taken for one that does not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use loment_image::conf::{File, StorageDefaults};

fuzz_target!(|text: &str| {
    let file = File { name: "f", text };
    match StorageDefaults::parse([file]) {
        Ok(limits) => {
            assert!(limits.size.as_deref() != Some("") && limits.inodes.as_deref() != Some(""));
            // A name that is written with escapes is found by reading only.
            let says = limits != StorageDefaults::default() && !text.contains('\\');
            assert!(!says || StorageDefaults::may_be_in(file), "{limits:?}");
            assert_eq!(StorageDefaults::parse([file, file]), Ok(limits));
        }
        Err(error) => {
            let told = error.to_string();
            assert!(!told.contains('\n') && told.starts_with("parse f: line "), "{told:?}");
        }
    }
});

//! Manifests and indexes of every format.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| loment_image::read_any_manifest(bytes));

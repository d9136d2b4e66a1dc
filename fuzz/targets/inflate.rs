//! Compressed layers: gzip, zstd, and what only begins like them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| loment_image::read_any_blob(bytes));

//! Archives of images, as `docker save` and others write them, and their layers.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    loment_store::read_any_archive(bytes);
    loment_image::read_any_archive(bytes);
});

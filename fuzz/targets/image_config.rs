//! Configurations of images.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| drop(loment_image::ImageConfig::parse(bytes)));

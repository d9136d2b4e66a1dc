//! Images of layers, as a disk may give them back.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| loment_store::read_anything(bytes));

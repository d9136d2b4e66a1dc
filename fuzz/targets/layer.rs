//! Tars of layers: what a registry may send, before anything is written.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| loment_store::read_any_layer(bytes));

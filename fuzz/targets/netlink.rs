//! Messages of the kernel's about devices, addresses and routes, in which names are what users called their devices.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| loment_net::read_anything(bytes));

//! /proc/PID/mountinfo, in which paths are what users named their directories.
#![no_main]

use libfuzzer_sys::fuzz_target;
use loment_runtime::parse_mountinfo;

fuzz_target!(|text: &[u8]| {
    let lines = text.split(|&b| b == b'\n').count();
    assert!(parse_mountinfo(text).len() <= lines);
});

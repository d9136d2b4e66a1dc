//! A `config.json`: whatever is in it, the answer is a plan or an error of one line that says something.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use loment_runtime::{Hooks, Plan, parse_spec};

fuzz_target!(|text: &[u8]| {
    let Ok((spec, _warnings)) = parse_spec(text) else { return };
    if let Ok(plan) = Plan::new(&spec, Path::new("/bundle")) {
        let _ = (plan.cgroup_owner(), plan.is_seen_by_others(), plan.in_user_namespace());
        assert!(Hooks::of(&spec).is_ok(), "a plan has the hooks of its specification");
    }
});

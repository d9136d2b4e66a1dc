//! A file of a directory with OCI hooks: whatever is in it, the answer is a program with its stages, or an error of one line.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use loment_image::conf::{File, HookFile, HookSubject};

fuzz_target!(|text: &str| {
    match HookFile::parse(File { name: "f", text }) {
        Ok(file) => {
            assert!(file.program.path.is_absolute() && !file.stages.is_empty());
            let annotations = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
            file.is_for(HookSubject { annotations: &annotations, command: "/bin/sh", has_bind_mounts: true });
        }
        Err(e) => {
            let told = e.to_string();
            assert!(!told.contains('\n') && told.contains('f'), "{told:?}");
        }
    }
});

//! A policy.json: an error of one line, or the same verdict each time; nothing but a whole document says anything.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use loment_image::conf::{File, Policy, Subject};

fuzz_target!(|text: &str| {
    let policy = match Policy::parse(File { name: "f", text }) {
        Ok(policy) => policy,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    // What is said must be there, and said once: with more behind it the text is none.
    assert!(Policy::parse(File { name: "f", text: &format!("{text}{text}") }).is_err());
    assert!(text.contains("\"default\"") || text.contains('\\'));
    let Ok(reference) = "h.x:5000/team/app:1".parse() else { return };
    let path = Path::new("/srv/images/a").to_string_lossy();
    for subject in [
        Subject::docker(&reference),
        Subject::path("dir", &path, None),
        Subject::path("oci", &path, Some("1")),
        Subject::nameless("docker-archive", "docker-archive:x".into()),
    ] {
        assert_eq!(policy.check(&subject), policy.check(&subject));
    }
});

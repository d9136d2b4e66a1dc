//! A file with logins: an error that shows no secret, or logins; one that is added is found again, and one that is taken away
//! is not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use loment_image::conf::{AuthFile, AuthFormat, File, parse_helper_answer};
use loment_registry::Credentials;

fuzz_target!(|text: &str| {
    let _ = parse_helper_answer("h", text);
    for format in [AuthFormat::Containers, AuthFormat::Docker, AuthFormat::Legacy] {
        let parse = |text: &str| AuthFile::parse(File { name: "f", text }, format);
        let mut file = match parse(text) {
            Ok(file) => file,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                continue;
            }
        };
        for name in ["docker.io/library/a", "h.x", "h.x/team/app"] {
            let _ = (file.find(name), file.helper(name), file.store(name));
        }
        let _ = file.helpers();
        let credentials = Credentials { username: "me".into(), password: "pw".into() };
        let Ok(()) = file.set("docker.io", &credentials) else { panic!("a registry can have a login") };
        let Ok(again) = parse(&file.to_text()) else { panic!("what is written can be read") };
        let found = again.find("docker.io").ok().flatten().and_then(|login| login.credentials);
        assert_eq!(found, Some(credentials));
        assert!(file.remove("docker.io"));
    }
});

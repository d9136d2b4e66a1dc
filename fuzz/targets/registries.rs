//! A registries.conf: whatever is in it, the answer is where to look or an error of one line; what is blocked leads nowhere.
#![no_main]

use libfuzzer_sys::fuzz_target;
use loment_image::Reference;
use loment_image::conf::{File, Registries};

const NAMES: [&str; 5] = [
    "busybox",
    "h.x/a:1",
    "h.x:5000/team/app",
    "a.b.h.x/team/app:latest",
    "h.x/a@sha256:7173b809ca12ec5dee4506cd86be934c4596dd234ee82c0662eac04a8c2c71dc",
];

fuzz_target!(|text: &str| {
    let file = File { name: "f", text };
    let registries = match Registries::parse([file]) {
        Ok(registries) => registries,
        Err(error) => {
            let told = error.to_string();
            assert!(!told.contains('\n') && told.contains('f'), "{told:?}");
            return;
        }
    };
    for name in NAMES {
        let Ok(reference) = name.parse::<Reference>() else { continue };
        let written = reference.to_string();
        let table = registries.table(&written);
        match registries.endpoints(&reference) {
            Ok(endpoints) => {
                assert!(!endpoints.is_empty());
                assert!(!table.is_some_and(|table| table.blocked), "{name}");
                for endpoint in endpoints {
                    let there = endpoint.reference.to_string();
                    assert_eq!(there.parse::<Reference>().as_ref(), Ok(&endpoint.reference), "{there}");
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        let names = registries.short_names();
        let _ = (names.candidates(name), names.local_candidates(name), registries.insecure(&written));
    }
    let mut twice = Registries::default();
    let _ = twice.add_recorded(file);
});

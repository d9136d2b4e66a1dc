//! A description of devices (CDI): whatever is in it, each device that it names is there and has a name that `--device` takes, or there
//! is an error of one line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use loment_image::conf::{DeviceFile, File, is_device_name};

fuzz_target!(|text: &str| {
    for name in ["f.json", "f.yaml"] {
        match DeviceFile::parse(File { name, text }) {
            Ok(file) => {
                for device in file.names() {
                    assert!(is_device_name(&device), "{device:?}");
                    assert!(file.device(&device).is_some(), "{device:?}");
                }
            }
            Err(e) => {
                let told = e.to_string();
                assert!(!told.contains('\n') && told.contains('f'), "{told:?}");
            }
        }
    }
});

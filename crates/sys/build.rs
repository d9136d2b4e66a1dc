//! Compiles the freestanding init (init/init.rs) that the runtime embeds.

use std::env::var;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=init/init.rs");
    let out = Path::new(&var("OUT_DIR").expect("cargo sets OUT_DIR")).join("init");
    let status = Command::new(var("RUSTC").expect("cargo sets RUSTC"))
        .args(["--edition=2024", "--crate-type=bin", "--crate-name=init", "-Copt-level=s", "-Cpanic=abort"])
        .args(["-Crelocation-model=static", "-Cstrip=symbols", "-Ctarget-feature=+crt-static"])
        .arg("-Clink-args=-nostartfiles -nostdlib -static -Wl,--build-id=none,-z,noseparate-code,-z,norelro")
        .arg("--target")
        .arg(var("TARGET").expect("cargo sets TARGET"))
        .arg("-o")
        .arg(&out)
        .arg("init/init.rs")
        .status()
        .expect("rustc runs: it is compiling this");
    assert!(status.success(), "compiling init/init.rs failed");
}

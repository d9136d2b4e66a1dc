//! Against the kernel's own hierarchies; needs root.

use oci_spec::runtime::{LinuxCpuBuilder, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResourcesBuilder};

use super::*;

/// A group of this test's own, removed whatever happens.
struct Scratch<'h>(Cgroup<'h>);

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        let _ = self.0.remove();
    }
}

fn scratch<'h>(host: &'h Host, name: &str) -> Scratch<'h> {
    let path = CgroupPath::new(&format!("loment-test-{name}-{}", std::process::id())).unwrap();
    Scratch(host.cgroup(path))
}

#[test]
fn climbing_names_are_refused() {
    for bad in ["", "/", "a/../b", "..", "a//b", "a/./b", "a\nb", &"x".repeat(256)] {
        assert!(CgroupPath::new(bad).is_err(), "{bad:?}");
    }
    assert_eq!(CgroupPath::new("/a/b/").unwrap().as_str(), "a/b");
}

#[test]
fn a_group_is_made_limited_and_removed() {
    assert!(loment_sys::process::is_root(), "this test needs root");
    let host = Host::detect().unwrap();
    let group = scratch(&host, "limits");
    group.0.create().unwrap();
    assert!(matches!(group.0.create(), Err(Error::Exists { .. })));
    let resources = LinuxResourcesBuilder::default()
        .memory(LinuxMemoryBuilder::default().limit(64 << 20).build().unwrap())
        .cpu(LinuxCpuBuilder::default().quota(50_000).period(100_000u64).shares(512u64).build().unwrap())
        .pids(LinuxPidsBuilder::default().limit(42).build().unwrap())
        .build()
        .unwrap();
    group.0.apply(&resources).unwrap();
    assert_eq!(group.0.read("pids.max").unwrap().trim(), "42");
    let memory = group.0.read("memory.limit_in_bytes").or_else(|| group.0.read("memory.max")).unwrap();
    assert_eq!(memory.trim(), (64 << 20).to_string());
    group.0.remove().unwrap();
    assert!(!group.0.exists());
    group.0.remove().unwrap();
}

#[test]
fn a_value_the_kernel_refuses_names_the_file() {
    let host = Host::detect().unwrap();
    let group = scratch(&host, "refused");
    group.0.create().unwrap();
    let cpu = LinuxCpuBuilder::default().cpus("4095").build().unwrap();
    let resources = LinuxResourcesBuilder::default().cpu(cpu).build().unwrap();
    let error = group.0.apply(&resources).unwrap_err().to_string();
    assert!(error.contains("cpuset.cpus") && error.contains("4095"), "{error}");
}

#[test]
fn a_limit_nobody_would_write_is_refused() {
    let host = Host::detect().unwrap();
    let group = scratch(&host, "unsupported");
    group.0.create().unwrap();
    if host.version() == Version::V1 {
        println!("skipped: no v2 hierarchy on this host");
        return;
    }
    let json = r#"{"blockIO":{"weight":10}}"#;
    let resources: LinuxResources = serde_json::from_str(json).unwrap();
    assert!(matches!(group.0.apply(&resources), Err(Error::Unsupported { .. })));
}

#[test]
fn the_device_program_passes_the_verifier() {
    let json = r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":3,"access":"rw"},
        {"allow":true,"type":"b","access":"m"},{"allow":true,"type":"c","major":136,"access":"rwm"}]"#;
    let rules: Vec<_> = serde_json::from_str(json).unwrap();
    let program = devices::program(&rules).unwrap();
    let host = Host::detect().unwrap();
    let group = scratch(&host, "devices");
    group.0.create().unwrap();
    let entry = group.0.entry().unwrap();
    let Some(v2) = entry.v2() else {
        println!("skipped: no v2 hierarchy on this host");
        return;
    };
    loment_sys::bpf::attach_device_program(v2, &program).unwrap();
}

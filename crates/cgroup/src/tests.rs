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
fn a_group_is_below_another_by_whole_names() {
    let below = |path, other| CgroupPath::new(path).unwrap().is_below(&CgroupPath::new(other).unwrap());
    assert!(below("a/b", "a") && below("a/b/c", "/a"));
    assert!(!below("a", "a") && !below("ab", "a") && !below("a-b/c", "a") && !below("a", "a/b"));
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
fn a_group_that_somebody_was_killed_while_making_is_completed() {
    let host = Host::detect().unwrap();
    let group = scratch(&host, "half");
    // On v1 a group of CPUs without any: nobody can join it.
    let cpuset = std::path::Path::new("/sys/fs/cgroup/cpuset").join(group.0.path().as_str());
    let first = host.hierarchies.first().unwrap().root().make_dir(group.0.path().as_str());
    assert!(first.unwrap());
    if let Some(parent) = cpuset.parent().filter(|parent| parent.exists()) {
        std::fs::create_dir_all(parent.join(group.0.path().as_str())).unwrap();
    }
    for _ in 0..2 {
        group.0.create_if_missing().unwrap();
        assert!(host.hierarchies.iter().all(|h| h.root().open_dir(group.0.path().as_str()).is_ok()));
        if let Ok(cpus) = std::fs::read_to_string(cpuset.join("cpuset.cpus")) {
            assert_ne!(cpus.trim(), "");
        }
    }
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

/// Resources as a specification has them.
fn resources(text: &str) -> LinuxResources {
    serde_json::from_str(text).unwrap()
}

/// A disk of this machine, `major:minor`.
fn disk() -> Option<String> {
    let disks = std::fs::read_dir("/sys/block").ok()?.flatten();
    let virtual_ = |name: &str| ["loop", "ram", "zram"].iter().any(|prefix| name.starts_with(prefix));
    let real = disks.filter(|d| !virtual_(&d.file_name().to_string_lossy()));
    let mut numbers = real.filter_map(|d| std::fs::read_to_string(d.path().join("dev")).ok());
    numbers.next().map(|n| n.trim().to_owned())
}

#[test]
fn rates_and_huge_pages_are_limited_where_there_is_a_controller() {
    let host = Host::detect().unwrap();
    let group = scratch(&host, "rates");
    group.0.create().unwrap();
    if let Some(disk) = disk().filter(|_| host.has("blkio") || host.has("io")) {
        let (major, minor) = disk.split_once(':').unwrap();
        let text = format!(
            r#"{{"blockIO":{{"throttleReadBpsDevice":[{{"major":{major},"minor":{minor},"rate":1048576}}],
                "throttleWriteIOPSDevice":[{{"major":{major},"minor":{minor},"rate":77}}]}}}}"#
        );
        group.0.apply(&resources(&text)).unwrap();
        match group.0.read("io.max") {
            Some(text) => assert!(text.contains("rbps=1048576") && text.contains("wiops=77"), "{text}"),
            None => {
                let read = group.0.read("blkio.throttle.read_bps_device").unwrap();
                assert_eq!(read.trim(), format!("{disk} 1048576"));
                assert_eq!(
                    group.0.read("blkio.throttle.write_iops_device").unwrap().trim(),
                    format!("{disk} 77")
                );
            }
        }
    }
    if host.has("hugetlb") {
        group.0.apply(&resources(r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#)).unwrap();
        let value = group.0.read("hugetlb.2MB.max").or_else(|| group.0.read("hugetlb.2MB.limit_in_bytes"));
        assert_eq!(value.unwrap().trim(), "4194304");
        let error = group.0.apply(&resources(r#"{"hugepageLimits":[{"pageSize":"../x","limit":1}]}"#));
        assert!(error.unwrap_err().to_string().contains("../x"));
    }
}

#[test]
fn limits_without_a_controller_are_refused_by_name() {
    let host = Host::detect().unwrap();
    let group = scratch(&host, "absent");
    group.0.create().unwrap();
    for (controller, text) in [
        ("net_cls", r#"{"network":{"classID":1}}"#),
        ("net_prio", r#"{"network":{"priorities":[{"name":"lo","priority":1}]}}"#),
        ("rdma", r#"{"rdma":{"mlx5_1":{"hcaHandles":3}}}"#),
        ("nonesuch", r#"{"unified":{"nonesuch.max":"1"}}"#),
    ] {
        if host.has(controller) {
            println!("skipped: a limit without the {controller} controller, because this machine has it");
            continue;
        }
        let error = group.0.apply(&resources(text)).unwrap_err().to_string();
        assert!(error.contains(controller) || error.contains("v2"), "{error}");
    }
    for text in [r#"{"unified":{"../x":"1"}}"#, r#"{"unified":{"memory/x":"1"}}"#] {
        assert!(group.0.apply(&resources(text)).is_err(), "{text}");
    }
}

#[test]
fn an_empty_group_is_taken_over_and_one_in_use_is_not() {
    let host = Host::detect().unwrap();
    let group = scratch(&host, "taken");
    group.0.create().unwrap();
    group.0.create_or_adopt().unwrap();
    let entry = group.0.entry().unwrap();
    let sleep = std::fs::File::open("/bin/sleep").unwrap();
    let (_, pidfd) = loment_sys::spawn::spawn(&loment_sys::spawn::Program {
        exe: loment_sys::spawn::Exe::File(sleep.as_fd()),
        argv: &[c"sleep".to_owned(), c"100".to_owned()],
        envp: &[],
        fds: &[],
        cgroup: entry.v2(),
        tasks: &entry.v1().collect::<Vec<_>>(),
        orphan: false,
    })
    .unwrap();
    let result = group.0.create_or_adopt();
    group.0.kill().unwrap();
    loment_sys::wait::wait_exit(&pidfd).unwrap();
    assert!(matches!(result, Err(Error::Exists { .. })), "{result:?}");
}

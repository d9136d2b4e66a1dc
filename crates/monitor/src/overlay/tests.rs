use super::*;

#[test]
fn layers_are_mounted_as_the_kernel_wants_that() {
    assert!(loment_sys::process::is_root(), "this test needs root");
    own_namespace().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let make = |name: String| {
        let path = dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let (a, b) = (make("a".into()), make("b".into()));
    std::fs::write(a.join("both"), "a").unwrap();
    std::fs::write(b.join("both"), "b").unwrap();
    std::fs::write(b.join("one"), "b").unwrap();
    // Each way works on every kernel that is newer.
    for (n, kernel) in [(6, 15), (6, 8), (6, 1)].into_iter().enumerate() {
        let kernel = KernelVersion::new(kernel.0, kernel.1);
        let [upper, work, scratch] = ["upper", "work", "scratch"].map(|name| make(format!("{name}{n}")));
        let lower = [&a, &b].map(|path| Opened::Mount(clone_tree(path).unwrap()));
        let flags = MountAttrFlags::empty();
        let changes = Some((upper.as_path(), work.as_path()));
        let layers = Layers { lower: &lower, changes, base: None, data: &[], volatile: true, flags };
        let tree = layers.mount_on(&scratch, kernel).unwrap();
        let inside = format!("/proc/self/fd/{}", tree.as_raw_fd());
        assert_eq!(std::fs::read_to_string(format!("{inside}/both")).unwrap(), "a");
        assert_eq!(std::fs::read_to_string(format!("{inside}/one")).unwrap(), "b");
    }
}

/// Where systemd is, every mount of the host is shared.
#[test]
fn what_is_mounted_over_clones_does_not_come_back_to_the_host() {
    assert!(loment_sys::process::is_root(), "this test needs root");
    own_namespace().unwrap();
    let dir = tempfile::tempdir().unwrap();
    rustix::mount::mount_bind(dir.path(), dir.path()).unwrap();
    mount_change(dir.path(), MountPropagationFlags::SHARED).unwrap();
    let make = |name: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    let dirs = [make("a"), make("b"), make("container")];
    let (upper, work, scratch) = (make("container/upper"), make("container/work"), make("scratch"));
    // On a mount that is not shared, as a worker has it.
    rustix::mount::mount_bind(&scratch, &scratch).unwrap();
    mount_change(&scratch, MountPropagationFlags::PRIVATE).unwrap();
    let [a, b, base] = dirs.each_ref().map(|path| clone_tree(path).unwrap());
    let lower = [Opened::Mount(a), Opened::Mount(b)];
    let flags = MountAttrFlags::empty();
    let (changes, base) = (Some((upper.as_path(), work.as_path())), Some(&base));
    let layers = Layers { lower: &lower, changes, base, data: &[], volatile: false, flags };
    layers.attach(&scratch).unwrap();
    drop(layers.by_mount(&scratch).unwrap());
    let mounted = dirs.each_ref().map(|path| crate::is_mount_point(path).unwrap());
    for _ in 0..4 {
        rustix::mount::unmount(&scratch, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
    rustix::mount::unmount(dir.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!(mounted, [false; 3]);
}

#[test]
fn the_overlay_of_old_kernels_is_the_same() {
    assert!(loment_sys::process::is_root(), "this test needs root");
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let dirs = [make("top:,\\x"), make("bottom")];
    let (upper, work, scratch) = (make("upper"), make("work"), make("scratch"));
    std::fs::write(dirs[0].join("both"), "top").unwrap();
    std::fs::write(dirs[1].join("both"), "bottom").unwrap();
    std::fs::write(dirs[1].join("one"), "bottom").unwrap();
    // This thread gets a mount namespace of its own, which ends with it.
    own_namespace().unwrap();
    let lower = dirs.map(Opened::Dir);
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID;
    let layers = Layers {
        lower: &lower,
        changes: Some((&upper, &work)),
        base: None,
        data: &[],
        volatile: true,
        flags,
    };
    let tree = layers.by_mount(&scratch).unwrap();
    let inside = format!("/proc/self/fd/{}", tree.as_raw_fd());
    assert_eq!(std::fs::read_to_string(format!("{inside}/both")).unwrap(), "top");
    assert_eq!(std::fs::read_to_string(format!("{inside}/one")).unwrap(), "bottom");
    std::fs::write(format!("{inside}/new"), "x").unwrap();
    assert!(upper.join("new").exists());
    assert_eq!(restrictions(&tree).unwrap(), MountAttrFlags::MOUNT_ATTR_NOSUID);
    drop(tree);
    rustix::mount::unmount(&scratch, rustix::mount::UnmountFlags::DETACH).unwrap();
}

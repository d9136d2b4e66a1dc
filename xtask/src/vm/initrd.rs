//! The initial RAM disk: just enough to mount the disk. Debian's own takes ten times as long.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::run;

/// What the root file system lies on.
const MODULES: &[&str] = &["virtio_pci", "virtio_blk", "ext4"];

/// Loads the modules in the order they are listed in, and goes over to the disk.
const INIT: &str = "#!/busybox sh
/busybox mount -t devtmpfs dev /dev
while read -r module; do /busybox insmod \"$module\" || echo \"insmod $module failed\"; done < /order
tries=0
until [ -b /dev/vda ] || [ $tries -ge 100 ]; do tries=$((tries + 1)); /busybox usleep 100000; done
/busybox mount -t ext4 /dev/vda /root && /busybox mount --move /dev /root/dev
exec /busybox switch_root /root /sbin/init
";

/// Makes `initrd` with modules of the kernel in the tree at `root`; `scratch` is a directory that is not there yet.
pub fn make(root: &Path, release: &str, scratch: &Path, initrd: &Path) -> anyhow::Result<()> {
    let modules = root.join("lib/modules").join(release);
    let read = |name: &str| {
        fs::read_to_string(modules.join(name)).with_context(|| format!("read {name} of {release}"))
    };
    let order = load_order(&read("modules.dep")?, &read("modules.builtin")?, MODULES)?;
    for dir in ["", "dev", "root"] {
        fs::create_dir_all(scratch.join(dir)).context("make the tree of the RAM disk")?;
    }
    let mut names = Vec::new();
    for (number, module) in order.iter().enumerate() {
        let name = format!("{number}.ko");
        fs::write(scratch.join(&name), decompressed(&modules.join(module))?).context("write a module")?;
        names.push(name);
    }
    let order: String = names.iter().map(|n| format!("/{n}\n")).collect();
    fs::write(scratch.join("order"), order).context("write the list of modules")?;
    fs::write(scratch.join("init"), INIT).context("write init")?;
    fs::copy(root.join("bin/busybox"), scratch.join("busybox")).context("copy busybox")?;
    for program in ["init", "busybox"] {
        fs::set_permissions(scratch.join(program), fs::Permissions::from_mode(0o755))
            .with_context(|| format!("make {program} a program"))?;
    }
    names.extend(["order", "init", "busybox", "dev", "root"].map(str::to_owned));
    pack(scratch, &names, initrd)
}

/// A module's bytes; newer kernels' are compressed, which not every insmod understands.
fn decompressed(module: &Path) -> anyhow::Result<Vec<u8>> {
    if module.extension().is_some_and(|e| e == "ko") {
        return fs::read(module).with_context(|| format!("read {}", module.display()));
    }
    let output =
        Command::new("xz").args(["--decompress", "--stdout"]).arg(module).output().context("start xz")?;
    if !output.status.success() {
        bail!("xz cannot decompress {}", module.display());
    }
    Ok(output.stdout)
}

fn pack(directory: &Path, names: &[String], archive: &Path) -> anyhow::Result<()> {
    let file = fs::File::create(archive).with_context(|| format!("make {}", archive.display()))?;
    let mut cpio = Command::new("/bin/busybox");
    cpio.args(["cpio", "-o", "-H", "newc"]).current_dir(directory).stdin(Stdio::piped()).stdout(file);
    let mut child = cpio.stderr(Stdio::null()).spawn().context("start busybox cpio")?;
    let mut stdin = child.stdin.take().context("a pipe was asked for")?;
    stdin.write_all((names.join("\n") + "\n").as_bytes()).context("write to cpio")?;
    drop(stdin);
    let status = child.wait().context("wait for cpio")?;
    if !status.success() {
        bail!("{} failed: {status}", run::shown(&cpio));
    }
    Ok(())
}

/// The files of `wanted` modules and of all they need, each after what it needs.
///
/// `modules.dep` has lines `FILE: NEEDED…`, where what is needed by another one on the line stands behind it;
/// `modules.builtin` lists those that are part of the kernel.
pub fn load_order(dep: &str, builtin: &str, wanted: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let mut seen = BTreeSet::new();
    let mut order = Vec::new();
    for module in wanted {
        let line = dep.lines().filter_map(|l| l.split_once(':')).find(|(file, _)| is_module(file, module));
        let Some((file, needed)) = line else {
            if builtin.lines().any(|file| is_module(file, module)) {
                continue;
            }
            bail!("the kernel has no module {module}");
        };
        for file in needed.split_whitespace().rev().chain([file]) {
            if seen.insert(file) {
                order.push(PathBuf::from(file));
            }
        }
    }
    Ok(order)
}

/// Whether `kernel/…/NAME.ko`, compressed or not, is that module; `-` and `_` are the same in names of modules.
fn is_module(file: &str, module: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split_once(".ko").is_some_and(|(name, _)| name.replace('-', "_") == module.replace('-', "_"))
}

#[cfg(test)]
mod unit {
    use super::*;

    const DEP: &str = "kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio_ring.ko \
                       kernel/drivers/virtio/virtio.ko\n\
                       kernel/drivers/virtio/virtio.ko:\n\
                       kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko\n\
                       kernel/drivers/block/virtio_blk.ko.xz: kernel/drivers/virtio/virtio_ring.ko \
                       kernel/drivers/virtio/virtio.ko\n\
                       kernel/net/br-odd.ko:\n";

    fn names(order: &[PathBuf]) -> Vec<&str> {
        order.iter().filter_map(|p| p.file_name()?.to_str()).collect()
    }

    #[test]
    fn a_module_comes_once_and_after_what_it_needs() {
        let order =
            load_order(DEP, "kernel/fs/ext4/ext4.ko\n", &["virtio_pci", "virtio_blk", "ext4"]).unwrap();
        assert_eq!(names(&order), ["virtio.ko", "virtio_ring.ko", "virtio_pci.ko", "virtio_blk.ko.xz"]);
    }

    #[test]
    fn dashes_and_underscores_are_the_same() {
        assert_eq!(names(&load_order(DEP, "", &["br_odd"]).unwrap()), ["br-odd.ko"]);
    }

    #[test]
    fn a_missing_module_is_named() {
        let error = load_order(DEP, "kernel/fs/ext4.ko", &["btrfs"]).unwrap_err().to_string();
        assert!(error.contains("btrfs"), "{error}");
    }
}

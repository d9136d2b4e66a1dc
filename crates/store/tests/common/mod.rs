//! Shared by the store's tests: a store in a temporary directory and tars with any header at all.
#![expect(dead_code, reason = "every test file uses its own part")]

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use loment_store::{
    Durability, Error, Form, HashingSource, ImageId, ImagePlatform, ImageRecord, Layer, Lower, Rootfs, Store,
    sha256,
};
use tempfile::TempDir;

/// A store that goes away with its directory.
pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
    pub(crate) store: Store,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with_form(FORM)
    }

    pub(crate) fn with_form(form: Form) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "the store's tests make devices and owners: run them as root"
        );
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).with_form(form);
        Self { dir, store }
    }

    pub(crate) fn unpack(&self, tar: &[u8]) -> Result<Unpacked, Error> {
        let lease = self.store.lease()?;
        let layer = lease.unpack_layer(HashingSource::new(tar))?.commit(None, None)?;
        Ok(Unpacked::new(layer))
    }

    /// The directory of a layer in the store.
    pub(crate) fn layer_dir(&self, layer: &Layer) -> PathBuf {
        self.store.root().join("layers").join(layer.diff_id().hex())
    }

    /// Everything in the store's directory that is not part of an empty store.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let root = self.dir.path().join("root");
        // What takes long is left to a process that nobody waits for.
        Store::empty_tombs(&root).unwrap();
        let mut found = Vec::new();
        for dir in ["layers", "by-blob", "images", "refs", "leases", "staging", "containers", "tombs"] {
            found.extend(fs::read_dir(root.join(dir)).unwrap().map(|entry| entry.unwrap().path()));
        }
        found
    }
}

/// A layer and, once it is looked at, the directory its files are seen in.
#[derive(Debug)]
pub(crate) struct Unpacked {
    layer: Layer,
    view: OnceCell<View>,
}

impl Unpacked {
    pub(crate) fn new(layer: Layer) -> Self {
        Self { layer, view: OnceCell::new() }
    }

    /// Bytes that a file takes on disk, or at most what it can for one in an image.
    pub(crate) fn disk_used(&self, path: &str) -> u64 {
        let file = match self.layer.lower() {
            Lower::Dir(dir) => dir.join(path),
            Lower::Erofs { file, .. } => file,
        };
        file.metadata().unwrap().blocks() * 512
    }

    /// Where its files are.
    pub(crate) fn fs(&self) -> PathBuf {
        self.view.get_or_init(|| View::of(&self.layer.lower())).path.clone()
    }
}

/// The files of a layer, as long as this lives.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) path: PathBuf,
    _mounted: Option<Mounted>,
}

impl View {
    pub(crate) fn of(lower: &Lower) -> Self {
        match lower {
            Lower::Dir(path) => Self { path: path.clone(), _mounted: None },
            Lower::Erofs { file, .. } => {
                let output =
                    Command::new("fsck.erofs").arg(file).output().expect("erofs-utils are installed");
                assert!(output.status.success(), "{output:?}");
                let (mounted, path) = Mounted::new(file);
                Self { path, _mounted: Some(mounted) }
            }
        }
    }
}

/// A process with a mount namespace in which an image is mounted; both go away with this, or with the test.
#[derive(Debug)]
struct Mounted {
    child: Child,
    _target: TempDir,
}

impl Mounted {
    fn new(file: &Path) -> (Self, PathBuf) {
        let target = tempfile::tempdir().unwrap();
        let mut child = Command::new("unshare")
            .args(["-m", "--propagation", "private", "sh", "-ec"])
            .args(["mount -t erofs -o loop,ro \"$@\"; echo; exec cat", "sh"])
            .args([file, target.path()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).expect("the image can be mounted");
        let path =
            Path::new(&format!("/proc/{}/root", child.id())).join(target.path().strip_prefix("/").unwrap());
        (Self { child, _target: target }, path)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

/// What overlayfs shows of a container but for its root directory, as [`describe`] has it.
pub(crate) fn shown(rootfs: &Rootfs) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let layers: Vec<_> = rootfs.lower.iter().cloned().chain([Lower::Dir(rootfs.skeleton.clone())]).collect();
    let target = dir.path().join("merged");
    fs::create_dir(&target).unwrap();
    let (prepare, lower) = lower_dirs(&layers, dir.path());
    let mount =
        r#"mount -t overlay overlay -o "xino=on,lowerdir=$1,upperdir=$2,workdir=$3" "$4"; echo; exec cat"#;
    let child = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-ec", &(prepare + mount), "sh", &lower.join(":")])
        .args([&rootfs.upper, &rootfs.work, &target])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut mounted = Mounted { child, _target: dir };
    mounted.child.stdout.as_mut().unwrap().read_exact(&mut [0]).expect("the overlay can be mounted");
    let root = format!("/proc/{}/root", mounted.child.id());
    describe(&Path::new(&root).join(target.strip_prefix("/").unwrap()), false)
}

/// An image of these layers, the lowest first.
pub(crate) fn image(fixture: &Fixture, tars: &[Vec<u8>]) -> ImageRecord {
    let lease = fixture.store.lease().unwrap();
    let layers = tars.iter().map(|tar| {
        let staged = lease.unpack_layer(HashingSource::new(&tar[..])).unwrap();
        staged.commit(None, None).unwrap().diff_id().clone()
    });
    let layers = layers.collect();
    for text in ["config", "manifest"] {
        lease.put_blob(&sha256(text.as_bytes()), text.as_bytes()).unwrap();
    }
    let record = ImageRecord {
        id: ImageId::try_from(sha256(b"config")).unwrap(),
        manifests: vec![sha256(b"manifest")],
        layers,
        platform: ImagePlatform { os: "linux".into(), architecture: "amd64".into(), variant: None },
        created: None,
        size: 0,
        pulled: 0,
        names_history: Vec::new(),
    };
    lease.commit_image(&record).unwrap();
    record
}

/// Shell commands that make every layer a directory, mounting images below `mounts`, and these directories.
pub(crate) fn lower_dirs(lower: &[Lower], mounts: &Path) -> (String, Vec<String>) {
    let (mut script, mut dirs) = (String::new(), Vec::new());
    for (index, lower) in lower.iter().enumerate() {
        match lower {
            Lower::Dir(path) => dirs.push(path.to_str().unwrap().to_owned()),
            Lower::Erofs { file, .. } => {
                let dir = format!("{}/mounted-{index}", mounts.display());
                script += &format!("mkdir -p {dir}; mount -t erofs -o loop,ro {} {dir};", file.display());
                dirs.push(dir);
            }
        }
    }
    (script, dirs)
}

impl std::ops::Deref for Unpacked {
    type Target = Layer;
    fn deref(&self) -> &Layer {
        &self.layer
    }
}

/// How layers are kept: as images when the tests are part of the program tests/erofs.rs.
pub(crate) const FORM: Form = match env!("CARGO_CRATE_NAME").as_bytes() {
    b"erofs" => Form::Erofs,
    _ => Form::Dir,
};

pub(crate) fn open(dir: &Path) -> Store {
    Store::open(&dir.join("root"), &dir.join("run"), Durability::None).unwrap().with_form(FORM)
}

/// Unpacks a tar that must be good, checks that it is regenerated exactly, and returns its layer.
pub(crate) fn good(tar: &[u8]) -> (Fixture, Unpacked) {
    let fixture = Fixture::new();
    let layer = fixture.unpack(tar).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let mut again = Vec::new();
    layer.write_tar(&mut again).unwrap();
    assert!(again == tar, "the regenerated tar differs");
    assert_eq!(layer.diff_id().digest(), &sha256(tar));
    let report = fixture.store.check(false).unwrap();
    assert!(!report.is_damaged(), "{report:?}");
    (fixture, layer)
}

/// Unpacks a tar that must be refused, checks that nothing is left, and returns the message.
pub(crate) fn refused(tar: &[u8]) -> String {
    let fixture = Fixture::new();
    let error = fixture.unpack(tar).expect_err("the tar was accepted");
    assert_eq!(fixture.leftovers(), Vec::<PathBuf>::new());
    chain(&error)
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

/// A tar under construction.
#[derive(Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

/// One header, with names as raw as they come.
pub(crate) struct Item {
    pub(crate) header: tar::Header,
}

pub(crate) fn item(typeflag: u8, name: &[u8]) -> Item {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[156] = typeflag;
    assert!(name.len() <= 100);
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_mode(if typeflag == b'5' { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000_000);
    header.set_size(0);
    header.set_device_major(0).unwrap();
    header.set_device_minor(0).unwrap();
    Item { header }
}

impl Item {
    pub(crate) fn mode(mut self, mode: u32) -> Self {
        self.header.set_mode(mode);
        self
    }
    pub(crate) fn owner(mut self, uid: u64, gid: u64) -> Self {
        self.header.set_uid(uid);
        self.header.set_gid(gid);
        self
    }
    pub(crate) fn mtime(mut self, mtime: u64) -> Self {
        self.header.set_mtime(mtime);
        self
    }
    pub(crate) fn link(mut self, target: &[u8]) -> Self {
        self.header.as_old_mut().linkname[..target.len()].copy_from_slice(target);
        self
    }
    pub(crate) fn device(mut self, major: u32, minor: u32) -> Self {
        self.header.set_device_major(major).unwrap();
        self.header.set_device_minor(minor).unwrap();
        self
    }
}

impl Tar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// An entry with content.
    pub(crate) fn put(mut self, mut item: Item, content: &[u8]) -> Self {
        item.header.set_size(content.len() as u64);
        item.header.set_cksum();
        self.0.extend_from_slice(item.header.as_bytes());
        self.data(content)
    }

    /// An entry whose size field is a lie.
    pub(crate) fn put_sized(mut self, mut item: Item, size: u64, content: &[u8]) -> Self {
        item.header.set_size(size);
        item.header.set_cksum();
        self.0.extend_from_slice(item.header.as_bytes());
        self.data(content)
    }

    pub(crate) fn data(mut self, content: &[u8]) -> Self {
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.put(item(b'0', name.as_bytes()), content)
    }
    pub(crate) fn dir(self, name: &str) -> Self {
        self.put(item(b'5', name.as_bytes()), b"")
    }
    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.put(item(b'2', name.as_bytes()).link(target.as_bytes()), b"")
    }
    pub(crate) fn hardlink(self, name: &str, target: &str) -> Self {
        self.put(item(b'1', name.as_bytes()).link(target.as_bytes()), b"")
    }

    /// A PAX extended header for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut payload = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length =
                (1..).map(|digits| rest + digits).find(|n| rest + n.to_string().len() == *n).unwrap();
            payload.extend_from_slice(format!("{length} {key}=").as_bytes());
            payload.extend_from_slice(value);
            payload.push(b'\n');
        }
        self.put(item(b'x', b"PaxHeaders/x"), &payload)
    }

    /// The two zero blocks.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// Extended attributes of a path, not following it.
pub(crate) fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut list = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut list[..]).unwrap();
    let names = list[..length].split(|&b| b == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 4096];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            value.truncate(length);
            (String::from_utf8(name.to_vec()).unwrap(), value)
        })
        .collect()
}

/// A tree as text: one line for each path with everything a tar can carry, hard links by first name. The times
/// of whiteouts mean nothing.
pub(crate) fn describe(root: &Path, with_root: bool) -> Vec<String> {
    // What an entry replaced may be a name more, outside of what is seen; so names are counted.
    let mut links: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    let mut lines = Vec::new();
    let mut pending = vec![root.to_path_buf()];
    let mut paths = Vec::new();
    while let Some(path) = pending.pop() {
        if path.symlink_metadata().unwrap().is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        paths.push(path);
    }
    paths.sort();
    for path in &paths {
        let meta = path.symlink_metadata().unwrap();
        if !meta.is_dir() {
            links.entry(meta.ino()).or_default().push(path.strip_prefix(root).unwrap().to_path_buf());
        }
    }
    for path in paths {
        let relative = path.strip_prefix(root).unwrap().to_path_buf();
        if relative.as_os_str().is_empty() && !with_root {
            continue;
        }
        let meta = path.symlink_metadata().unwrap();
        let content = if meta.is_file() {
            sha256(&fs::read(&path).unwrap()).to_string()
        } else if meta.is_symlink() {
            fs::read_link(&path).unwrap().as_os_str().as_bytes().escape_ascii().to_string()
        } else {
            String::new()
        };
        let first = match links.get(&meta.ino()).map(Vec::as_slice) {
            Some([first, _, ..]) if !meta.is_dir() => first.clone(),
            _ => PathBuf::new(),
        };
        let is_whiteout = meta.file_type().is_char_device() && meta.rdev() == 0;
        let time = if is_whiteout { (0, 0) } else { (meta.mtime(), meta.mtime_nsec()) };
        lines.push(format!(
            "{:?} {:o} {}:{} {}.{:09} {} {:?} {:?} {content}",
            relative,
            meta.mode(),
            meta.uid(),
            meta.gid(),
            time.0,
            time.1,
            meta.rdev(),
            first,
            xattrs(&path),
        ));
    }
    lines
}

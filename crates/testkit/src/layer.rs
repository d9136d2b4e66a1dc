//! Layers as tar streams, with everything a tar entry can carry.

use std::io::{Seek, Write};

use tar::{EntryType, Header};

/// One entry of a layer.
#[derive(Clone, Debug)]
pub struct Entry {
    path: String,
    kind: EntryType,
    target: String,
    content: Vec<u8>,
    mode: u32,
    owner: (u64, u64),
    mtime: u64,
    device: (u32, u32),
    xattrs: Vec<(String, Vec<u8>)>,
    raw_name: bool,
}

impl Entry {
    fn new(path: &str, kind: EntryType, mode: u32) -> Self {
        Self {
            path: path.to_owned(),
            kind,
            target: String::new(),
            content: Vec::new(),
            mode,
            owner: (0, 0),
            mtime: 1_700_000_000,
            device: (0, 0),
            xattrs: Vec::new(),
            raw_name: false,
        }
    }

    /// A regular file, mode 0644.
    pub fn file(path: &str, content: impl Into<Vec<u8>>) -> Self {
        Self { content: content.into(), ..Self::new(path, EntryType::Regular, 0o644) }
    }

    /// A directory, mode 0755.
    pub fn dir(path: &str) -> Self {
        Self::new(path, EntryType::Directory, 0o755)
    }

    /// A symbolic link that says `target`.
    pub fn symlink(path: &str, target: &str) -> Self {
        Self { target: target.to_owned(), ..Self::new(path, EntryType::Symlink, 0o777) }
    }

    /// A further name of `target`, a path from the root of the layer.
    pub fn hardlink(path: &str, target: &str) -> Self {
        Self { target: target.to_owned(), ..Self::new(path, EntryType::Link, 0o644) }
    }

    /// A character device.
    pub fn char_device(path: &str, major: u32, minor: u32) -> Self {
        Self { device: (major, minor), ..Self::new(path, EntryType::Char, 0o666) }
    }

    /// A block device.
    pub fn block_device(path: &str, major: u32, minor: u32) -> Self {
        Self { device: (major, minor), ..Self::new(path, EntryType::Block, 0o660) }
    }

    /// A named pipe.
    pub fn fifo(path: &str) -> Self {
        Self::new(path, EntryType::Fifo, 0o644)
    }

    /// The mark that hides `path` of the layers below.
    pub fn whiteout(path: &str) -> Self {
        let (dir, name) = path.rsplit_once('/').map_or((String::new(), path), |(d, n)| (format!("{d}/"), n));
        Self::file(&format!("{dir}.wh.{name}"), "")
    }

    /// The mark that hides everything the layers below have in `dir`.
    pub fn opaque(dir: &str) -> Self {
        Self::file(&format!("{dir}/.wh..wh..opq"), "")
    }

    /// Permission bits, with set-user-id and the like.
    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    /// Numeric owner and group.
    pub fn owner(self, uid: u64, gid: u64) -> Self {
        Self { owner: (uid, gid), ..self }
    }

    /// Modification time in seconds since 1970.
    pub fn mtime(self, mtime: u64) -> Self {
        Self { mtime, ..self }
    }

    /// An extended attribute, as `SCHILY.xattr.NAME`.
    pub fn xattr(mut self, name: &str, value: &[u8]) -> Self {
        self.xattrs.push((name.to_owned(), value.to_vec()));
        self
    }

    /// Writes the path into the header as it stands, `..` and leading slashes included. For hostile layers.
    pub fn raw_name(self) -> Self {
        Self { raw_name: true, ..self }
    }
}

/// A layer under construction.
#[derive(Default)]
pub struct Layer {
    tar: Option<tar::Builder<Vec<u8>>>,
}

impl std::fmt::Debug for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layer").finish_non_exhaustive()
    }
}

impl Layer {
    /// An empty layer.
    pub fn new() -> Self {
        Self { tar: Some(tar::Builder::new(Vec::new())) }
    }

    /// A layer of these entries, in this order.
    pub fn of(entries: impl IntoIterator<Item = Entry>) -> Self {
        entries.into_iter().fold(Self::new(), Self::with)
    }

    fn builder(&mut self) -> &mut tar::Builder<Vec<u8>> {
        self.tar.get_or_insert_with(|| tar::Builder::new(Vec::new()))
    }

    /// Adds an entry.
    pub fn with(mut self, entry: Entry) -> Self {
        let tar = self.builder();
        let mut header = Header::new_gnu();
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_uid(entry.owner.0);
        header.set_gid(entry.owner.1);
        header.set_mtime(entry.mtime);
        header.set_size(entry.content.len() as u64);
        if matches!(entry.kind, EntryType::Char | EntryType::Block) {
            header.set_device_major(entry.device.0).expect("a device number fits");
            header.set_device_minor(entry.device.1).expect("a device number fits");
        }
        if !entry.xattrs.is_empty() {
            let keys: Vec<_> = entry.xattrs.iter().map(|(k, v)| (format!("SCHILY.xattr.{k}"), v)).collect();
            let pairs = keys.iter().map(|(k, v)| (k.as_str(), v.as_slice()));
            tar.append_pax_extensions(pairs).expect("memory takes everything");
        }
        let done = if entry.raw_name {
            let name = &mut header.as_old_mut().name;
            name[..entry.path.len()].copy_from_slice(entry.path.as_bytes());
            if !entry.target.is_empty() {
                let link = &mut header.as_old_mut().linkname;
                link[..entry.target.len()].copy_from_slice(entry.target.as_bytes());
            }
            header.set_cksum();
            tar.append(&header, entry.content.as_slice())
        } else if matches!(entry.kind, EntryType::Symlink | EntryType::Link) {
            tar.append_link(&mut header, &entry.path, &entry.target)
        } else {
            tar.append_data(&mut header, &entry.path, entry.content.as_slice())
        };
        done.unwrap_or_else(|e| panic!("write tar entry {}: {e}", entry.path));
        self
    }

    /// Adds a file of `length` bytes that is a hole but for `chunks` of offset and content, in GNU's sparse form.
    pub fn with_sparse(mut self, path: &str, length: u64, chunks: &[(u64, &[u8])]) -> Self {
        let mut file = tempfile::tempfile().expect("make a temporary file");
        file.set_len(length).expect("make a hole");
        for (offset, content) in chunks {
            file.seek(std::io::SeekFrom::Start(*offset)).expect("seek");
            file.write_all(content).expect("write");
        }
        file.rewind().expect("seek");
        let tar = self.builder();
        tar.sparse(true);
        tar.mode(tar::HeaderMode::Deterministic);
        tar.append_file(path, &mut file).expect("write a sparse entry");
        self
    }

    /// Adds what `tar` made elsewhere, for example of a whole directory.
    pub fn from_tar(bytes: Vec<u8>) -> RawLayer {
        RawLayer(bytes)
    }

    /// The uncompressed tar.
    pub fn into_bytes(mut self) -> Vec<u8> {
        self.builder();
        let tar = self.tar.take().expect("made one line above");
        tar.into_inner().expect("memory takes everything")
    }
}

/// A finished, uncompressed layer.
#[derive(Clone, Debug)]
pub struct RawLayer(pub(crate) Vec<u8>);

impl RawLayer {
    /// A tar made elsewhere.
    pub fn new(tar: Vec<u8>) -> Self {
        Self(tar)
    }

    /// The tar.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Layer> for RawLayer {
    fn from(layer: Layer) -> Self {
        Self(layer.into_bytes())
    }
}

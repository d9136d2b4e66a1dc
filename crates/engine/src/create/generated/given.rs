//! Copies of what the machine gives every container (containers-mounts.conf(5)): what a container does to them is not done to the host's.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;

use crate::config::{Config, Users};
use crate::spec;

/// Files and directories of one container; more are nobody's intention.
const MAX_FILES: u32 = 4096;
/// Bytes in them.
const MAX_BYTES: u64 = 64 << 20;
/// Directories in directories.
const MAX_DEPTH: u32 = 32;

struct Copying {
    owner: Option<(u32, u32)>,
    files: u32,
    bytes: u64,
}

/// Makes them, in a container's run directory.
pub(super) fn copy(config: &Config, run_dir: &Path) -> io::Result<()> {
    let owner = config.namespaces.users.as_ref().and_then(Users::root);
    let mut copying = Copying { owner, files: MAX_FILES, bytes: MAX_BYTES };
    for (n, given) in config.files.given.iter().enumerate().filter(|(_, given)| given.source.exists()) {
        let to = spec::given(run_dir, n);
        // That of a run that was interrupted.
        let _ = fs::remove_dir_all(&to);
        if let Some(parent) = to.parent() {
            DirBuilder::new().mode(0o700).recursive(true).create(parent)?;
        }
        let named = |e: io::Error| io::Error::new(e.kind(), format!("copy {}: {e}", given.source.display()));
        copying.one(&given.source, &to, 0).map_err(named)?;
    }
    Ok(())
}

impl Copying {
    /// Links are followed: they lead to the host's files.
    fn one(&mut self, from: &Path, to: &Path, depth: u32) -> io::Result<()> {
        let meta = match fs::metadata(from) {
            // A link to nothing.
            Err(e) if e.kind() == io::ErrorKind::NotFound && depth > 0 => return Ok(()),
            other => other?,
        };
        let too_much = |what: String| Err(io::Error::other(format!("it has more than {what}")));
        if self.files == 0 {
            return too_much(format!("{MAX_FILES} files"));
        }
        self.files -= 1;
        if meta.is_dir() {
            if depth == MAX_DEPTH {
                return too_much(format!("{MAX_DEPTH} directories in each other"));
            }
            fs::create_dir(to)?;
            for entry in fs::read_dir(from)? {
                let entry = entry?;
                self.one(&entry.path(), &to.join(entry.file_name()), depth + 1)?;
            }
        } else if meta.is_file() {
            let mut content = Vec::new();
            let length = File::open(from)?.take(self.bytes + 1).read_to_end(&mut content)? as u64;
            if length > self.bytes {
                return too_much(format!("{MAX_BYTES} bytes"));
            }
            self.bytes -= length;
            fs::write(to, content)?;
        } else if depth == 0 {
            return Err(io::Error::other("it is neither a file nor a directory"));
        } else {
            return Ok(());
        }
        fs::set_permissions(to, Permissions::from_mode(meta.mode() & 0o777))?;
        self.owner.map_or(Ok(()), |(uid, gid)| chown(to, Some(uid), Some(gid)))
    }
}

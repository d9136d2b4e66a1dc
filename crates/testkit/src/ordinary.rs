//! Tests as an ordinary user.
//!
//! The user exists where the binary runs, and nowhere else: in a mount namespace in which the account files are others.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// The user, and their group, that worlds of ordinary users have.
pub const ID: u32 = 20_007;
const NAME: &str = "loment-test";
/// The first of the further users and groups.
const FIRST: u32 = 400_000;

/// With this variable, every world is an ordinary user's.
const VARIABLE: &str = "LOMENT_TEST_USER";

/// What the shell is to do as root, then as the user. What root has put in the directory for tests becomes the user's: it is what the user's own
/// files would be.
const SCRIPT: &str = r#"dir=$1 binary=$2; shift 2
mount --make-rprivate /
for file in passwd group subuid subgid; do mount --bind "$dir/accounts/$file" "/etc/$file"; done
mount --bind "$binary" "$dir/accounts/loment"
find "$dir/work" "$dir/home" -xdev -user 0 -exec chown -h 20007:20007 {} +
name=${binary##*/}
[ "$name" = loment ] || ln -sf loment "$dir/accounts/$name"
exec setpriv --reuid 20007 --regid 20007 --clear-groups -- "$dir/accounts/$name" "$@"
"#;

/// Whether worlds are to be an ordinary user's.
pub(crate) fn is_wanted() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// How many users and groups the user may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// 65,537.
    Many,
    /// None but itself.
    One,
}

/// Makes a world's directory the user's.
pub(crate) fn prepare(dir: &Path, ids: Ids) {
    let accounts = dir.join("accounts");
    fs::create_dir(&accounts).expect("make a directory");
    for (file, line) in [
        ("passwd", format!("{NAME}:x:{ID}:{ID}::{}:/bin/sh", dir.join("home").display())),
        ("group", format!("{NAME}:x:{ID}:")),
        ("subuid", format!("{NAME}:{FIRST}:65536")),
        ("subgid", format!("{NAME}:{FIRST}:65536")),
    ] {
        let is_range = file.starts_with("sub");
        let before = if is_range {
            String::new()
        } else {
            fs::read_to_string(Path::new("/etc").join(file)).unwrap_or_default()
        };
        let line = if is_range && ids == Ids::One { String::new() } else { line };
        fs::write(accounts.join(file), format!("{before}{line}\n")).expect("write a file");
        let target = Path::new("/etc").join(file);
        if !target.exists() {
            fs::write(target, "").expect("write a file");
        }
    }
    fs::write(accounts.join("loment"), "").expect("write a file");
    fs::write(accounts.join("as-user"), SCRIPT).expect("write a file");
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("change a mode");
    for path in [PathBuf::new(), "home".into(), "work".into()] {
        chown(dir.join(path), Some(ID), Some(ID)).expect("change an owner");
    }
}

/// The program and arguments that run a binary of that name as the user.
pub(crate) fn command(dir: &Path, binary: &Path) -> [PathBuf; 6] {
    let script = dir.join("accounts/as-user");
    ["unshare".into(), "--mount".into(), "sh".into(), script, dir.to_owned(), binary.to_owned()]
}

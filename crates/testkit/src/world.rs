//! An environment of its own for each test.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::command::{Output, Patience, run, run_with_input, try_run};
use crate::ordinary::{self, Ids};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How often a directory is removed in which others are still removing.
const TRIES: u32 = 40;

/// A directory `/tmp/loment-test-…` that is deleted when it is dropped. Its name is what `xtask leaks` looks for.
pub(crate) fn temporary() -> TempDir {
    temporary_in("/tmp")
}

fn temporary_in(parent: &str) -> TempDir {
    tempfile::Builder::new().prefix("loment-test-").tempdir_in(parent).expect("make a temporary directory")
}

/// With this variable, containers have copies of the files of their images.
const COPIES: &str = "LOMENT_TEST_COPIES";

/// The binary with an empty store, no containers, and a known environment.
#[derive(Debug)]
pub struct World {
    binary: PathBuf,
    dir: Option<TempDir>,
    /// Its commands are an ordinary user's.
    ordinary: bool,
}

impl World {
    /// A world for the binary at this path.
    pub fn new(binary: &Path) -> Self {
        Self::of(binary, temporary(), ordinary::is_wanted().then_some(Ids::Many))
    }

    /// The same in memory, where flushes cost nothing.
    pub fn in_memory(binary: &Path) -> Self {
        Self::of(binary, temporary_in("/dev/shm"), ordinary::is_wanted().then_some(Ids::Many))
    }

    /// The same, with commands that an ordinary user runs.
    pub fn of_user(binary: &Path, ids: Ids) -> Self {
        Self::of(binary, temporary(), Some(ids))
    }

    fn of(binary: &Path, dir: TempDir, user: Option<Ids>) -> Self {
        let world = Self { binary: binary.to_owned(), dir: Some(dir), ordinary: user.is_some() };
        for name in ["home", "work"] {
            fs::create_dir(world.dir().join(name)).expect("make a directory");
        }
        if let Some(ids) = user {
            ordinary::prepare(world.dir(), ids);
        }
        world
    }

    /// The binary.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The directory in which everything of this world is.
    pub fn dir(&self) -> &Path {
        self.dir.as_ref().expect("taken only on drop").path()
    }

    /// Where a test may put files of its own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join("work").join(name)
    }

    /// Writes a file of the test's own and returns where it is.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).expect("write a file");
        path.into_os_string().into_string().expect("our paths are UTF-8")
    }

    /// Images and containers.
    pub fn root(&self) -> PathBuf {
        self.dir().join("root")
    }

    /// What does not outlive a boot.
    pub fn runroot(&self) -> PathBuf {
        self.dir().join("run")
    }

    /// The binary in a known environment, without arguments.
    pub fn bare(&self) -> Command {
        self.in_environment(&self.binary)
    }

    /// A program, run by whoever's world it is.
    fn starting(&self, dir: &Path, program: &Path) -> Command {
        if !self.ordinary {
            return Command::new(program);
        }
        let [first, others @ ..] = ordinary::command(dir, program);
        let mut command = Command::new(first);
        command.args(others);
        command
    }

    fn in_environment(&self, program: &Path) -> Command {
        let mut command = self.starting(self.dir(), program);
        command.env_clear();
        command.env("PATH", PATH);
        command.env("HOME", self.dir().join("home")).env("LANG", "C.UTF-8").env("TERM", "xterm");
        command.env("CONTAINERS_CONF", "/dev/null").env("TZ", "UTC");
        if self.ordinary {
            command.env("XDG_RUNTIME_DIR", self.dir().join("home"));
        }
        command.current_dir(self.dir().join("work"));
        command
    }

    /// `loment --root … --runroot … ARGUMENTS`, not started.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        self.command_of(&self.binary, arguments)
    }

    /// The same of another build.
    pub fn command_of<S: AsRef<OsStr>>(
        &self,
        binary: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = self.in_environment(binary);
        command.arg("--root").arg(self.root()).arg("--runroot").arg(self.runroot());
        if std::env::var_os(COPIES).is_some() {
            command.args(["--storage-opt", "loment.files=copy"]);
        }
        command.args(arguments);
        command
    }

    /// Runs `loment ARGUMENTS` to its end.
    #[track_caller]
    pub fn loment<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        run(&mut self.command(arguments), Patience::NORMAL)
    }

    /// The same with something on standard input.
    #[track_caller]
    pub fn loment_with_input<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        input: &str,
    ) -> Output {
        run_with_input(&mut self.command(arguments), input.as_bytes(), Patience::NORMAL)
    }

    /// Runs the binary under another name, through a link in this world.
    #[track_caller]
    pub fn named<S: AsRef<OsStr>>(&self, name: &str, arguments: impl IntoIterator<Item = S>) -> Output {
        let link = self.dir().join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(&self.binary, &link).expect("make a link");
        }
        run(self.in_environment(&link).args(arguments), Patience::NORMAL)
    }

    /// The same on this world's images and containers.
    #[track_caller]
    pub fn persona<S: AsRef<OsStr>>(&self, name: &str, arguments: impl IntoIterator<Item = S>) -> Output {
        let (root, runroot) = (self.root(), self.runroot());
        let globals: [&OsStr; 4] = ["--root".as_ref(), root.as_ref(), "--runroot".as_ref(), runroot.as_ref()];
        let arguments = arguments.into_iter().map(|argument| argument.as_ref().to_owned());
        self.named(name, globals.into_iter().map(OsStr::to_owned).chain(arguments))
    }

    /// A field of `inspect`, by Go template.
    #[track_caller]
    pub fn inspect(&self, template: &str, name: &str) -> String {
        self.loment(["inspect", "--format", template, name]).succeeds().to_owned()
    }

    /// What is left in directories that hold one entry per container or layer in the making.
    pub fn leftovers(&self) -> Vec<String> {
        // Nobody waits for the tombs to be emptied.
        for _ in 0..500 {
            if self.entries("root/tombs").is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let below = ["root/staging", "root/containers", "root/tombs", "root/leases", "run/containers"];
        below.iter().flat_map(|directory| self.entries(directory)).collect()
    }

    fn entries(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.dir().join(directory)).into_iter().flatten().flatten();
        entries.map(|e| e.path().display().to_string()).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let Some(dir) = self.dir.take() else { return };
        // A test that failed is to be seen with its own message: no second panic.
        if dir.path().join("root").exists() {
            let remove = |what: &[&str]| {
                let mut remove = self.starting(dir.path(), &self.binary);
                remove.env_clear().env("PATH", PATH).env("HOME", dir.path().join("home"));
                remove.arg("--root").arg(dir.path().join("root"));
                remove.arg("--runroot").arg(dir.path().join("run"));
                remove.args(what).args(["--force", "--all", "--time", "0"]);
                match try_run(&mut remove, b"", Patience::NORMAL) {
                    Ok(output) if output.code == 0 => None,
                    Ok(output) => Some(output.to_string()),
                    Err(e) => Some(e),
                }
            };
            let has_pods = dir.path().join("root/pods").exists();
            let problem = has_pods.then(|| remove(&["pod", "rm"])).flatten().or_else(|| remove(&["rm"]));
            if let Some(problem) = problem
                && !std::thread::panicking()
            {
                drop(dir);
                panic!("containers cannot be removed: {problem}");
            }
        }
        let path = dir.path().to_owned();
        for kind in ["run/image-mounts", "run/container-mounts"] {
            for entry in fs::read_dir(path.join(kind)).into_iter().flatten().flatten() {
                let rootfs = entry.path().join("rootfs");
                let _ = rustix::mount::unmount(rootfs, rustix::mount::UnmountFlags::DETACH);
            }
        }
        for entry in fs::read_dir(path.join("root/volumes")).into_iter().flatten().flatten() {
            let _ = rustix::mount::unmount(entry.path().join("_data"), rustix::mount::UnmountFlags::DETACH);
        }
        // Layers stay mounted until they are removed, or the machine is shut down.
        let _ = rustix::mount::unmount(path.join("run/pins"), rustix::mount::UnmountFlags::DETACH);
        // Somebody may be emptying tombs in it.
        let _ = dir.keep();
        let remove = || fs::remove_dir_all(&path).err().filter(|e| e.kind() != std::io::ErrorKind::NotFound);
        for _ in 0..TRIES {
            if remove().is_none() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        if let Some(e) = remove()
            && !std::thread::panicking()
        {
            panic!("remove {}: {e}", path.display());
        }
    }
}

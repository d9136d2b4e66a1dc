//! oras, as PyPI has it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Patience, try_run};

/// Known to push what refers to something.
const VERSION: &str = "0.2.43";

/// A Python that has oras, installed below `cache` now when it is not there; or why there is none. Concurrent tests wait for the
/// one that installs it.
///
/// # Errors
/// What venv or pip said, in one line.
pub fn oras(cache: &Path) -> Result<PathBuf, String> {
    let dir = cache.join(format!("oras-{VERSION}"));
    fs::create_dir_all(cache).map_err(|e| format!("make {}: {e}", cache.display()))?;
    let lock = fs::File::create(cache.join("oras.lock")).map_err(|e| format!("make a lock file: {e}"))?;
    lock.lock().map_err(|e| format!("lock the cache: {e}"))?;
    let (python, done) = (dir.join("bin/python"), dir.join("done"));
    if done.exists() {
        return Ok(python);
    }
    // What an interrupted installation left.
    drop(fs::remove_dir_all(&dir));
    // Debian's, which has what the package python3-venv brings.
    succeed(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(&dir))?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--retries",
        "1",
        "--timeout",
        "15",
    ];
    succeed(Command::new(&python).args(pip).arg(format!("oras=={VERSION}")))?;
    fs::write(done, "").map_err(|e| format!("write to the cache: {e}"))?;
    Ok(python)
}

fn succeed(command: &mut Command) -> Result<(), String> {
    let output = try_run(command, b"", Patience::NORMAL)?;
    let last = output.stderr.lines().chain(output.stdout.lines()).next_back().unwrap_or_default();
    if output.code == 0 {
        Ok(())
    } else {
        Err(format!("{} ended with {}: {last}", output.command, output.code))
    }
}

//! Where a runtime's errors go: standard error, and the file the engine named.

use std::io::Write;

/// The settings of `--log` and `--log-format`.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) file: Option<std::path::PathBuf>,
    pub(crate) json: bool,
}

impl Log {
    /// Writes an error. containerd and conmon read the last line of the file.
    pub(crate) fn error(&self, message: &str) {
        // Nobody is left to tell when standard error is closed.
        let _ = writeln!(std::io::stderr(), "loment-runtime: {message}");
        let Some(path) = &self.file else { return };
        let time = jiff::Timestamp::now();
        let line = if self.json {
            serde_json::json!({"level": "error", "msg": message, "time": time.to_string()}).to_string()
        } else {
            format!("time={:?} level=error msg={message:?}", time.to_string())
        };
        if let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path) {
            let _ = writeln!(file, "{line}");
        }
    }
}

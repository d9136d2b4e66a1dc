//! Programs that are run at stages of a container's life because a file in a directory says so (oci-hooks(5)). The files are read each
//! time it starts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use loment_image::conf::{File, HookFile, HookProgram, HookSubject};
use serde_json::Value;

use crate::config::Config;
use crate::config_dirs::{self, Text};
use crate::error::invalid;
use crate::{Engine, Error, cdi};

/// Where the files are if nothing else is said; of several with one name that of the last directory counts.
const DIRECTORIES: [&str; 2] = ["/usr/share/containers/oci/hooks.d", "/etc/containers/oci/hooks.d"];
/// The stage before there is a container: what the program prints is the specification.
const PRECREATE: &str = "precreate";

/// Runs a program with this on standard input; what it prints.
pub type RunHook = fn(&HookProgram, &[u8]) -> Result<Vec<u8>, String>;

impl Engine {
    /// The same engine, with somebody who runs programs: it does not do that itself.
    #[must_use]
    pub fn with_hooks(mut self, run: RunHook) -> Self {
        self.run_hook = Some(run);
        self
    }

    /// Adds a container's hooks to its specification, and lets programs that are asked before it is made change it.
    pub(crate) fn add_hooks(&self, config: &Config, spec: &mut Value) -> Result<(), Error> {
        for (path, program) in add(config, spec)? {
            let failed = |hint: String| {
                invalid("hook", program.path.display().to_string(), format!("{hint} ({path})"))
            };
            let run = self.run_hook.ok_or_else(|| failed("nobody runs programs here".into()))?;
            let answer = run(&program, spec.to_string().as_bytes()).map_err(failed)?;
            if !answer.is_empty() {
                *spec = serde_json::from_slice(&answer)
                    .map_err(|e| failed(format!("what it printed is no specification: {e}")))?;
            }
        }
        Ok(())
    }
}

/// Adds a container's hooks to its specification; gives the programs that are to be asked before it is made, each with its file.
pub(crate) fn add(config: &Config, spec: &mut Value) -> Result<Vec<(String, HookProgram)>, Error> {
    let mut asked = Vec::new();
    let files = files_of(config)?;
    for stage in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        for (_, HookFile { program, .. }) in files.iter().filter(|(_, file)| has_stage(file, stage)) {
            let parts = (program.path.as_path(), program.args.as_slice(), program.env.as_slice());
            cdi::add_hook(spec, stage, parts, program.timeout.map(Into::into));
        }
    }
    for (path, file) in files {
        if has_stage(&file, PRECREATE) {
            asked.push((path, file.program));
        }
    }
    Ok(asked)
}

fn has_stage(file: &HookFile, stage: &str) -> bool {
    file.stages.iter().any(|name| name == stage)
}

/// Refuses files that mean nothing, before there is a container.
pub(crate) fn check(config: &Config) -> Result<(), Error> {
    files_of(config).map(drop)
}

fn directories(config: &Config) -> Vec<PathBuf> {
    match &config.hook_dirs {
        Some(directories) => directories.clone(),
        None => DIRECTORIES.map(PathBuf::from).to_vec(),
    }
}

/// Those that are for it, in the order of their names.
fn files_of(config: &Config) -> Result<Vec<(String, HookFile)>, Error> {
    let mut by_name: BTreeMap<String, Text> = BTreeMap::new();
    for text in config_dirs::read(&directories(config), &["json"])? {
        let name = Path::new(&text.path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        by_name.insert(name, text);
    }
    let args = config.args();
    let subject = HookSubject {
        annotations: &config.annotations,
        command: args.first().map_or("", String::as_str),
        has_bind_mounts: config.files.volumes.iter().any(|volume| volume.kind() == "bind"),
    };
    let mut all = Vec::new();
    for Text { path, text, .. } in by_name.into_values() {
        let file = HookFile::parse(File { name: &path, text: &text })
            .map_err(|e| invalid("hook", path.as_str(), e.to_string()))?;
        if file.is_for(subject) {
            all.push((path, file));
        }
    }
    Ok(all)
}

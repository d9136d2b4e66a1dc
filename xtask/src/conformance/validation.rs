//! The validation programs of opencontainers/runtime-tools.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::outcome::Outcome;
use super::patience;
use crate::run::{succeed, which};

/// Its programs, compiled.
pub(super) struct Programs {
    checkout: PathBuf,
    programs: BTreeMap<String, PathBuf>,
}

impl Programs {
    /// Compiles those whose names contain one of `names`, where that has not been done.
    pub(super) fn compile(checkout: &Path, names: &[&str]) -> anyhow::Result<Self> {
        go(checkout, &checkout.join("runtimetest"), "./cmd/runtimetest")?;
        let validation = checkout.join("validation");
        let entries =
            std::fs::read_dir(&validation).with_context(|| format!("list {}", validation.display()))?;
        let mut programs = BTreeMap::new();
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let wanted = names.is_empty() || names.iter().any(|n| name.contains(n));
            if !wanted || !entry.path().join(format!("{name}.go")).exists() {
                continue;
            }
            let program = entry.path().join(format!("{name}.t"));
            go(checkout, &program, &format!("./validation/{name}"))?;
            programs.insert(name, program);
        }
        Ok(Self { checkout: checkout.to_owned(), programs })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.programs.keys().cloned().collect()
    }

    /// Runs one program, which prints TAP.
    pub(super) fn judge(&self, name: &str, runtime: &Path) -> anyhow::Result<Outcome> {
        let mut command = Command::new(&self.programs[name]);
        command.env("RUNTIME", runtime).current_dir(&self.checkout);
        let (text, ended_well) = patience::run(&mut command)?;
        Ok(Outcome::of_tap(&text, ended_well))
    }
}

fn go(checkout: &Path, output: &Path, package: &str) -> anyhow::Result<()> {
    if output.exists() {
        return Ok(());
    }
    let mut go = Command::new(which("go").context("the validation programs are written in Go: install it")?);
    go.args(["build", "-mod=vendor", "-o"]).arg(output).arg(package);
    succeed(go.env("CGO_ENABLED", "0").current_dir(checkout))
}

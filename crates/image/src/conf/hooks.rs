//! Programs that are run at stages of containers' lives: the files of directories with OCI hooks (oci-hooks(5)).

use std::collections::BTreeMap;
use std::path::PathBuf;

use regex::Regex;
use serde::Deserialize;

use super::error::ConfError;
use super::registries::File;

/// What a specification calls the stages, and `precreate`, which is Podman's.
const STAGES: [&str; 7] =
    ["precreate", "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A program.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookProgram {
    /// Absolute.
    pub path: PathBuf,
    /// With its name.
    #[serde(default)]
    pub args: Vec<String>,
    /// `NAME=VALUE`
    #[serde(default)]
    pub env: Vec<String>,
    /// Seconds.
    pub timeout: Option<u32>,
}

/// A file: a program, its stages, and for which containers it is.
#[derive(Clone, Debug)]
pub struct HookFile {
    /// The program.
    pub program: HookProgram,
    /// When it is run.
    pub stages: Vec<String>,
    when: When,
}

#[derive(Clone, Debug)]
struct When {
    always: Option<bool>,
    annotations: Vec<(Regex, Regex)>,
    commands: Vec<Regex>,
    has_bind_mounts: Option<bool>,
}

#[derive(Deserialize)]
struct Document {
    version: Option<String>,
    hook: Option<serde_json::Value>,
    #[serde(default)]
    when: Conditions,
    #[serde(default)]
    stages: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Conditions {
    always: Option<bool>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    commands: Vec<String>,
    has_bind_mounts: Option<bool>,
}

/// What of a container decides.
#[derive(Clone, Copy, Debug)]
pub struct HookSubject<'a> {
    /// Its annotations.
    pub annotations: &'a BTreeMap<String, String>,
    /// The program that it runs.
    pub command: &'a str,
    /// Whether something of the host's is mounted for it by name.
    pub has_bind_mounts: bool,
}

impl HookFile {
    /// Reads one, of version 1.0.0.
    ///
    /// # Errors
    /// [`ConfError`] says what is wrong with it.
    pub fn parse(file: File<'_>) -> Result<Self, ConfError> {
        let wrong = |problem: String| ConfError::content(file.name, &problem);
        let document: Document = serde_json::from_str(file.text).map_err(|e| wrong(e.to_string()))?;
        match document.version.as_deref() {
            Some("1.0.0") => {}
            version => {
                let version = version.unwrap_or("0.1.0");
                return Err(wrong(format!("hooks of version {version} are not read: 1.0.0 is")));
            }
        }
        let hook = document.hook.ok_or_else(|| wrong("it has no hook".into()))?;
        let program: HookProgram =
            serde_json::from_value(hook).map_err(|e| wrong(format!("invalid hook: {e}")))?;
        if !program.path.is_absolute() {
            return Err(wrong(format!("the path of its hook is not absolute: {:?}", program.path)));
        }
        if document.stages.is_empty() {
            return Err(wrong("it has no stages".into()));
        }
        if let Some(stage) = document.stages.iter().find(|stage| !STAGES.contains(&stage.as_str())) {
            return Err(wrong(format!("invalid stage {stage:?}: use {}", STAGES.join(", "))));
        }
        let pattern = |text: &str| {
            Regex::new(text).map_err(|e| {
                let told = e.to_string();
                wrong(format!("invalid pattern {text:?}: {}", told.lines().last().unwrap_or_default()))
            })
        };
        let Conditions { always, annotations, commands, has_bind_mounts } = document.when;
        if always.is_none() && has_bind_mounts.is_none() && annotations.is_empty() && commands.is_empty() {
            return Err(wrong(
                "it does not say when: use always, annotations, commands or hasBindMounts".into(),
            ));
        }
        let pair = |(key, value): (&String, &String)| Ok((pattern(key)?, pattern(value)?));
        let when = When {
            always,
            annotations: annotations.iter().map(pair).collect::<Result<_, _>>()?,
            commands: commands.iter().map(|text| pattern(text)).collect::<Result<_, _>>()?,
            has_bind_mounts,
        };
        Ok(Self { program, stages: document.stages, when })
    }

    /// Whether it is for a container: all that it says of it must hold, but of commands one.
    pub fn is_for(&self, subject: HookSubject<'_>) -> bool {
        let When { always, annotations, commands, has_bind_mounts } = &self.when;
        let has = |(key, value): &(Regex, Regex)| {
            subject.annotations.iter().any(|(name, text)| key.is_match(name) && value.is_match(text))
        };
        always.unwrap_or(true)
            && has_bind_mounts.is_none_or(|wanted| wanted && subject.has_bind_mounts)
            && annotations.iter().all(has)
            && (commands.is_empty() || commands.iter().any(|pattern| pattern.is_match(subject.command)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(when: &str) -> Result<HookFile, String> {
        let text = format!(
            r#"{{"version": "1.0.0", "hook": {{"path": "/bin/x"}}, "when": {when}, "stages": ["prestart"]}}"#
        );
        HookFile::parse(File { name: "h.json", text: &text }).map_err(|e| e.to_string())
    }

    #[test]
    fn all_conditions_must_hold_and_one_of_the_commands() {
        let annotations = BTreeMap::from([("a.b".to_owned(), "yes".to_owned())]);
        let is_for = |when: &str, command: &str, has_bind_mounts| {
            let subject = HookSubject { annotations: &annotations, command, has_bind_mounts };
            parse(when).unwrap().is_for(subject)
        };
        assert!(is_for(r#"{"always": true}"#, "/bin/sh", false));
        assert!(!is_for(r#"{"always": false}"#, "/bin/sh", false));
        assert!(!is_for(r#"{"hasBindMounts": true}"#, "/bin/sh", false));
        assert!(is_for(r#"{"hasBindMounts": true}"#, "/bin/sh", true));
        assert!(is_for(r#"{"annotations": {"^a\\.": "^y"}}"#, "/bin/sh", false));
        assert!(!is_for(r#"{"annotations": {"^a\\.": "^n"}}"#, "/bin/sh", false));
        assert!(!is_for(r#"{"annotations": {"^a\\.": "^y", "z": "."}}"#, "/bin/sh", false));
        assert!(is_for(r#"{"commands": ["bash$", "/sh$"]}"#, "/bin/sh", false));
        assert!(!is_for(r#"{"always": true, "commands": ["bash$"]}"#, "/bin/sh", false));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        assert!(parse("{}").unwrap_err().contains("does not say when"));
        assert!(parse(r#"{"sometimes": true}"#).unwrap_err().contains("sometimes"));
        assert!(parse(r#"{"commands": ["("]}"#).unwrap_err().contains("invalid pattern \"(\""));
        let told = |text: &str| HookFile::parse(File { name: "h.json", text }).unwrap_err().to_string();
        assert!(told(r#"{"hook": "/bin/x", "stages": []}"#).contains("version 0.1.0 are not read"));
        assert!(told(r#"{"version": "1.0.0"}"#).contains("it has no hook"));
        assert!(told(r#"{"version": "1.0.0", "hook": {"path": "x"}}"#).contains("not absolute"));
        assert!(told(r#"{"version": "1.0.0", "hook": {"path": "/x"}}"#).contains("no stages"));
        assert!(
            told(
                r#"{"version": "1.0.0", "hook": {"path": "/x"}, "when": {"always": true}, "stages": ["x"]}"#
            )
            .contains("invalid stage \"x\"")
        );
    }
}

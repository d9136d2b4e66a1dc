//! containers.conf: what holds for containers and for this program when no flag says otherwise.
//!
//! It is read once, when something of it is first needed. A flag goes before it, and what it says goes before what the program's name
//! changes.

use std::fmt::Display;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use loment_image::conf::{ConfError, Layers, Said};

use crate::ecosystem::{self, Text};
use crate::error::{Error, one_line};

pub(crate) const NAME: &str = "containers.conf";
/// Names one file instead of all.
pub(crate) const VARIABLE: &str = "CONTAINERS_CONF";
/// The table about containers,
pub(crate) const CONTAINERS: &str = "containers";
/// and the one about this program.
pub(crate) const ENGINE: &str = "engine";

/// What `--module` named.
static MODULES: OnceLock<Vec<String>> = OnceLock::new();
static READ: OnceLock<Result<ContainersConf, String>> = OnceLock::new();

/// All of it.
#[derive(Debug)]
pub(crate) struct ContainersConf {
    texts: Vec<Text>,
    /// What they say; most commands do not need to know.
    layers: OnceLock<Result<Layers, String>>,
    /// Variables of this program and of those that it runs.
    variables: Vec<(String, String)>,
    /// What was asked for and is there.
    said: Mutex<Vec<Asked>>,
}

/// Something that a file says, and that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    pub(crate) file: String,
    /// `key of [table]`, as in messages.
    pub(crate) key: String,
    pub(crate) value: serde_json::Value,
}

/// Says which modules are read, before anything is.
pub(crate) fn choose_modules(modules: Vec<String>) {
    let _ = MODULES.set(modules);
}

/// Reads it.
pub(crate) fn read() -> Result<&'static ContainersConf, Error> {
    let modules = MODULES.get().map(Vec::as_slice).unwrap_or_default();
    let found = READ.get_or_init(|| ContainersConf::read(modules).map_err(|e| one_line(&e)));
    found.as_ref().map_err(|message| Error::Invalid(message.clone()))
}

/// A variable that `env` of `[engine]` sets, once that has been read.
pub(crate) fn variable(name: &str) -> Option<&'static str> {
    let known = variables().iter().find(|(known, _)| known == name);
    known.map(|(_, value)| value.as_str())
}

/// All that it sets.
pub(crate) fn variables() -> &'static [(String, String)] {
    match READ.get() {
        Some(Ok(conf)) => &conf.variables,
        _ => &[],
    }
}

impl ContainersConf {
    fn read(modules: &[String]) -> Result<Self, Error> {
        Self::of(ecosystem::layered_with(NAME, &[VARIABLE], modules)?)
    }

    fn of(texts: Vec<Text>) -> Result<Self, Error> {
        let mut conf = Self { texts, layers: OnceLock::new(), variables: Vec::new(), said: Mutex::default() };
        if !conf.texts.iter().any(|text| mentions(text.file().text, "env")) {
            return Ok(conf);
        }
        let pairs = conf.list_as(ENGINE, "env", |text| match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(Error::Invalid("use NAME=VALUE".into())),
        })?;
        for pair in pairs {
            conf.variables.retain(|(name, _)| *name != pair.0);
            conf.variables.push(pair);
        }
        Ok(conf)
    }

    fn layers(&self) -> Result<&Layers, Error> {
        let parse = || Layers::parse(self.texts.iter().map(Text::file)).map_err(|e| e.to_string());
        self.layers.get_or_init(parse).as_ref().map_err(|message| Error::Invalid(message.clone()))
    }

    /// Reads all of it.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.layers().map(drop)
    }

    /// Remembers that a command has asked for something that is there.
    fn note<T: serde::Serialize>(&self, table: &str, said: &Said<'_, T>) {
        let value = serde_json::to_value(&said.value).unwrap_or_default();
        let asked = Asked { file: said.file.to_owned(), key: format!("{} of [{table}]", said.key), value };
        let mut all = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains(&asked) {
            all.push(asked);
        }
    }

    /// What commands have asked for so far, and was there.
    pub(crate) fn said(&self) -> Vec<Asked> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The files, in the order in which they count.
    pub(crate) fn texts(&self) -> &[Text] {
        &self.texts
    }

    /// A text; one that is empty says nothing.
    pub(crate) fn text(&self, table: &str, key: &'static str) -> Result<Option<Said<'_, &str>>, Error> {
        let said = self.layers()?.text(table, key).map_err(invalid)?;
        Ok(said.inspect(|said| self.note(table, said)))
    }

    /// The same; one that is empty says that.
    pub(crate) fn any_text(&self, table: &str, key: &'static str) -> Result<Option<Said<'_, &str>>, Error> {
        let said = self.layers()?.any_text(table, key).map_err(invalid)?;
        Ok(said.inspect(|said| self.note(table, said)))
    }

    /// What a text is read as.
    pub(crate) fn text_as<T>(
        &self,
        table: &str,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        self.text(table, key)?.map(|said| read_as(said, read)).transpose()
    }

    /// Whether something is switched on, or off.
    pub(crate) fn switch(&self, table: &str, key: &'static str) -> Result<Option<bool>, Error> {
        let said = self.layers()?.switch(table, key).map_err(invalid)?;
        Ok(said.inspect(|said| self.note(table, said)).map(|said| said.value))
    }

    /// What a flag says, or else what is switched in `[containers]`, or else `usual`.
    pub(crate) fn switched(&self, flag: Option<bool>, key: &'static str, usual: bool) -> Result<bool, Error> {
        match flag {
            Some(asked) => Ok(asked),
            None => Ok(self.switch(CONTAINERS, key)?.unwrap_or(usual)),
        }
    }

    /// A number that `read` takes; it says what another has to be.
    pub(crate) fn number_as<T>(
        &self,
        table: &str,
        key: &'static str,
        read: impl FnOnce(i64) -> Result<T, &'static str>,
    ) -> Result<Option<T>, Error> {
        let said = self.layers()?.number(table, key).map_err(invalid)?;
        said.iter().for_each(|said| self.note(table, said));
        said.map(|said| read(said.value).map_err(|problem| wrong(&said, &problem))).transpose()
    }

    /// A list of texts.
    pub(crate) fn list(&self, table: &str, key: &'static str) -> Result<Option<Vec<Said<'_, &str>>>, Error> {
        let said = self.layers()?.list(table, key).map_err(invalid)?;
        Ok(said.inspect(|all| all.iter().for_each(|said| self.note(table, said))))
    }

    /// What the texts of a list are read as.
    pub(crate) fn list_as<T>(
        &self,
        table: &str,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        self.list(table, key)?.unwrap_or_default().into_iter().map(|said| read_as(said, &read)).collect()
    }

    /// The texts of a table in a table.
    pub(crate) fn texts_of(&self, table: &str, key: &'static str) -> Result<Vec<(String, String)>, Error> {
        self.layers()?.texts(table, key).map_err(invalid)
    }
}

/// Whether a word is in more than remarks.
fn mentions(text: &str, word: &str) -> bool {
    text.lines().map(str::trim_start).any(|line| !line.starts_with('#') && line.contains(word))
}

fn invalid(error: ConfError) -> Error {
    Error::Invalid(error.to_string())
}

/// Reads a value as that of a flag is read; what is wrong with it is said of the file.
pub(crate) fn read_as<T>(
    said: Said<'_, &str>,
    read: impl FnOnce(&str) -> Result<T, Error>,
) -> Result<T, Error> {
    read(said.value).map_err(|error| {
        let text = one_line(&error);
        // Not of a flag, and not twice.
        let of_flag = text.strip_prefix("invalid value").and_then(|rest| rest.split_once(": "));
        let shown = format!("{:?}: ", said.value);
        let rest = of_flag.or_else(|| text.strip_prefix("invalid ").and_then(|rest| rest.split_once(&shown)));
        wrong(&said, &rest.map_or(text.as_str(), |(_, problem)| problem))
    })
}

/// The error for a value that means nothing.
pub(crate) fn wrong<T: std::fmt::Debug>(said: &Said<'_, T>, problem: &dyn Display) -> Error {
    let Said { file, key, value } = said;
    Error::Invalid(format!("{file}: invalid {key} {value:?}: {problem}"))
}

/// Where a module is: a name is looked for in the directories with modules.
pub(crate) fn module(name: &str, directories: &[std::path::PathBuf]) -> Result<std::path::PathBuf, Error> {
    if Path::new(name).is_absolute() {
        return Ok(name.into());
    }
    let places = directories.iter().map(|directory| directory.join(format!("{NAME}.modules")).join(name));
    let found = places.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| {
        let places: Vec<_> = directories.iter().map(|d| format!("{}/{NAME}.modules", d.display())).collect();
        Error::Invalid(format!("could not resolve module {name:?}: it is not in {}", places.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(text: &str) -> Result<ContainersConf, Error> {
        ContainersConf::of(vec![Text::new("f", text)])
    }

    #[test]
    fn what_is_wrong_is_said_of_file_key_and_value() {
        let conf =
            conf("[containers]\ntz = \"x\"\npids_limit = -7\n[engine]\nenv = [\"A=b=c\", \"A=d\"]").unwrap();
        assert_eq!(conf.variables, [("A".to_owned(), "d".to_owned())]);
        let told = |text: &str| Err::<(), _>(Error::Invalid(text.to_owned()));
        let error =
            conf.text_as(CONTAINERS, "tz", |_| told("invalid value \"x\" for --tz: use y")).unwrap_err();
        assert_eq!(error.to_string(), "f: invalid tz \"x\": use y");
        let error = conf.number_as(CONTAINERS, "pids_limit", |_| Err::<(), _>("use more")).unwrap_err();
        assert_eq!(error.to_string(), "f: invalid pids_limit -7: use more");
        assert!(super::ContainersConf::of(vec![Text::new("f", "[engine]\nenv = [\"A\"]")]).is_err());
    }
}

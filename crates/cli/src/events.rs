//! Where events are kept: flags and containers.conf.

use std::path::{Path, PathBuf};

use loment_events::Log;
use loment_image::conf::EventsDefaults;

use crate::containers_conf;
use crate::ecosystem;
use crate::error::Error;
use crate::units::parse_size;

/// Who keeps events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EventsBackend {
    /// Nobody.
    None,
    /// We, in a file.
    #[default]
    File,
}

impl EventsBackend {
    /// Reads the value of `--events-backend`.
    pub(crate) fn parse(name: &str) -> Result<Self, Error> {
        match name {
            "none" => Ok(Self::None),
            "file" => Ok(Self::File),
            "journald" => Err(Error::Invalid(
                "events in the journal are not supported yet: use --events-backend file or none".into(),
            )),
            _ => {
                Err(Error::Invalid(format!("invalid value {name:?} for --events-backend: use file or none")))
            }
        }
    }

    /// As users write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::File => "file",
        }
    }
}

/// What holds for events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventsSettings {
    pub(crate) backend: EventsBackend,
    /// Bytes; 0 is no limit.
    max_size: u64,
    /// Where they are kept, if not in the root directory.
    path: Option<PathBuf>,
    /// containers.conf asks for the journal, and gets a file.
    pub(crate) wants_journal: bool,
}

impl Default for EventsSettings {
    fn default() -> Self {
        let max_size = Log::MAX_SIZE;
        Self { backend: EventsBackend::File, max_size, path: None, wants_journal: false }
    }
}

impl EventsSettings {
    /// Where events of a root directory are kept, if they are.
    pub(crate) fn log(&self, root: &Path) -> Option<Log> {
        let log = || match &self.path {
            Some(path) => Log::at(path.clone(), self.max_size),
            None => Log::below(root, self.max_size),
        };
        (self.backend == EventsBackend::File).then(log)
    }
}

/// What the flag says, and of all else containers.conf.
pub(crate) fn settings(chosen: Option<EventsBackend>) -> Result<EventsSettings, Error> {
    if chosen == Some(EventsBackend::None) {
        return Ok(EventsSettings { backend: EventsBackend::None, ..EventsSettings::default() });
    }
    let texts = containers_conf::read()?.texts();
    let mentioned = texts.iter().any(|text| EventsDefaults::may_be_in(text.file()));
    let read = || EventsDefaults::parse(texts.iter().map(ecosystem::Text::file));
    let defaults = if mentioned { read() } else { Ok(EventsDefaults::default()) };
    of(chosen, &defaults.map_err(|e| Error::Invalid(e.to_string()))?)
}

fn of(chosen: Option<EventsBackend>, defaults: &EventsDefaults) -> Result<EventsSettings, Error> {
    let wants_journal = chosen.is_none() && defaults.logger.as_deref() == Some("journald");
    let backend = match (chosen, defaults.logger.as_deref()) {
        (Some(chosen), _) => chosen,
        (None, None | Some("" | "journald")) => EventsBackend::File,
        (None, Some(name)) => EventsBackend::parse(name)?,
    };
    let max_size = match defaults.max_size.as_deref() {
        None | Some("") => Log::MAX_SIZE,
        Some(text) => {
            let size = parse_size(text).and_then(|size| u64::try_from(size).ok());
            size.ok_or_else(|| {
                Error::Invalid(format!(
                    "invalid value {text:?} for events_logfile_max_size in containers.conf: use a size such as 1m"
                ))
            })?
        }
    };
    let path = defaults.path.clone().filter(|path| !path.as_os_str().is_empty());
    if let Some(path) = path.as_deref().filter(|path| !path.is_absolute() || path.file_name().is_none()) {
        return Err(Error::Invalid(format!(
            "invalid value {:?} for events_logfile_path in containers.conf: use the absolute path of a file",
            path.display().to_string()
        )));
    }
    Ok(EventsSettings { backend, max_size, path, wants_journal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_goes_before_the_file() {
        let with = |logger: Option<&str>, size: Option<&str>| EventsDefaults {
            logger: logger.map(str::to_owned),
            max_size: size.map(str::to_owned),
            path: None,
        };
        let log = |chosen, defaults| of(chosen, &defaults).map(|settings| settings.log("/r".as_ref())).ok();
        let at = |path: &str, size| Some(Some(Log::at(path.into(), size)));
        assert_eq!(log(None, with(None, None)), at("/r/events/log", 1_000_000));
        assert_eq!(log(None, with(Some("none"), None)), Some(None));
        assert_eq!(log(Some(EventsBackend::File), with(Some("none"), Some("2k"))), at("/r/events/log", 2048));
        assert_eq!(log(Some(EventsBackend::None), with(Some("file"), None)), Some(None));
        assert_eq!(log(None, with(Some("syslog"), None)), None);
        assert_eq!(log(None, with(None, Some("much"))), None);
        let placed = |path: &str| EventsDefaults { path: Some(path.into()), ..with(None, None) };
        assert_eq!(log(None, placed("/e/all")), at("/e/all", 1_000_000));
        assert_eq!(log(None, placed("")), at("/r/events/log", 1_000_000));
        assert_eq!((log(None, placed("all")), log(None, placed("/e/.."))), (None, None));
        assert!(of(None, &with(Some("journald"), None)).unwrap().wants_journal);
        assert!(EventsBackend::parse("journald").is_err());
    }
}

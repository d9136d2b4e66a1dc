//! Where events are kept: flags and containers.conf.

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
    /// containers.conf asks for the journal, and gets a file.
    pub(crate) wants_journal: bool,
}

impl Default for EventsSettings {
    fn default() -> Self {
        let max_size = loment_events::Log::MAX_SIZE;
        Self { backend: EventsBackend::File, max_size, wants_journal: false }
    }
}

impl EventsSettings {
    /// How many bytes events may take, if they are kept.
    pub(crate) fn size(&self) -> Option<u64> {
        (self.backend == EventsBackend::File).then_some(self.max_size)
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
        None | Some("") => loment_events::Log::MAX_SIZE,
        Some(text) => {
            let size = parse_size(text).and_then(|size| u64::try_from(size).ok());
            size.ok_or_else(|| {
                Error::Invalid(format!(
                    "invalid value {text:?} for events_logfile_max_size in containers.conf: use a size such as 1m"
                ))
            })?
        }
    };
    Ok(EventsSettings { backend, max_size, wants_journal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_goes_before_the_file() {
        let with = |logger: Option<&str>, size: Option<&str>| EventsDefaults {
            logger: logger.map(str::to_owned),
            max_size: size.map(str::to_owned),
        };
        let size = |chosen, defaults| of(chosen, &defaults).map(|settings| settings.size()).ok();
        assert_eq!(size(None, with(None, None)), Some(Some(1_000_000)));
        assert_eq!(size(None, with(Some("none"), None)), Some(None));
        assert_eq!(size(Some(EventsBackend::File), with(Some("none"), Some("2k"))), Some(Some(2048)));
        assert_eq!(size(Some(EventsBackend::None), with(Some("file"), None)), Some(None));
        assert_eq!(size(None, with(Some("syslog"), None)), None);
        assert_eq!(size(None, with(None, Some("much"))), None);
        assert!(of(None, &with(Some("journald"), None)).unwrap().wants_journal);
        assert!(EventsBackend::parse("journald").is_err());
    }
}

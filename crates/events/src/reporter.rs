//! Who tells of one container, wherever the process is that knows.

use serde::{Deserialize, Serialize};

use crate::event::{Event, Subject, more};
use crate::log::Log;
use crate::words::{Kind, What};

/// Tells of one container. It can be sent to another process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Reporter {
    /// None where events are not kept.
    log: Option<Log>,
    subject: Subject,
    /// The volumes that it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    volumes: Vec<MountedVolume>,
}

/// A volume of a container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MountedVolume {
    /// Its name.
    pub name: String,
    /// Where it is, in the container.
    pub destination: String,
    /// It cannot be written to there.
    pub read_only: bool,
}

impl Reporter {
    /// The reporter of a container.
    pub fn new(log: Option<Log>, subject: Subject) -> Self {
        Self { log, subject, volumes: Vec::new() }
    }

    /// The same of one that has these volumes.
    #[must_use]
    pub fn with_volumes(self, volumes: Vec<MountedVolume>) -> Self {
        Self { volumes, ..self }
    }

    /// What happens to its volumes now: they are mounted in it, or no longer.
    pub fn of_volumes(&self, what: What) -> impl Iterator<Item = Event> {
        self.volumes.iter().map(move |volume| {
            let subject = Subject { name: volume.name.clone(), ..Subject::default() };
            let event = Event::new(Kind::Volume, what, &subject)
                .with(more::CONTAINER, &self.subject.id)
                .with(more::DRIVER, "local");
            match what {
                What::Mount => event
                    .with(more::DESTINATION, &volume.destination)
                    .with(more::PROPAGATION, "")
                    .with(more::READ_WRITE, !volume.read_only),
                _ => event,
            }
        })
    }

    /// The container has another name from now on.
    pub fn rename(&mut self, name: &str) {
        name.clone_into(&mut self.subject.name);
    }

    /// What happens to it now.
    pub fn event(&self, what: What) -> Event {
        Event::new(Kind::Container, what, &self.subject)
    }

    /// Writes what has happened. That it could not be written, on a disk that is full, stops nothing.
    pub fn tell(&self, events: &[Event]) {
        if let Some(log) = &self.log {
            let _ = log.write(events);
        }
    }
}

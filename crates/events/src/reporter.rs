//! Who tells of one container, wherever the process is that knows.

use serde::{Deserialize, Serialize};

use crate::event::{Event, Subject};
use crate::log::Log;
use crate::words::{Kind, What};

/// Tells of one container. It can be sent to another process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Reporter {
    /// None where events are not kept.
    log: Option<Log>,
    subject: Subject,
}

impl Reporter {
    /// The reporter of a container.
    pub fn new(log: Option<Log>, subject: Subject) -> Self {
        Self { log, subject }
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

//! Telling of what happens: where that is written, and who it is about.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

use loment_events::{Event, From, Kind, Log, MountedVolume, Reader, Reporter, Subject, What, more};

use crate::config::{Config, Volume};
use crate::error::in_go;
use crate::{Engine, Error, Pod, StoredSecret};

type Choose = Box<dyn Fn(&Path) -> Option<Log> + Send + Sync>;

/// Where events are written, found out when there is the first one.
pub(crate) struct Events {
    choose: Choose,
    log: OnceLock<Option<Log>>,
}

impl Default for Events {
    fn default() -> Self {
        Self { choose: Box::new(|root| Some(Log::below(root, Log::MAX_SIZE))), log: OnceLock::new() }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("log", &self.log).finish_non_exhaustive()
    }
}

impl Engine {
    /// The same engine, which asks where events of its root directory are kept, if they are, when there is one.
    #[must_use]
    pub fn with_events(mut self, choose: impl Fn(&Path) -> Option<Log> + Send + Sync + 'static) -> Self {
        self.events = Events { choose: Box::new(choose), log: OnceLock::new() };
        self
    }

    /// Where events are; `None` where none are kept.
    pub fn event_log(&self) -> Option<&Log> {
        let found = || (self.events.choose)(self.root());
        self.events.log.get_or_init(found).as_ref()
    }

    /// Who tells of a container.
    pub(crate) fn reporter(&self, config: &Config) -> Reporter {
        let image = config.image.as_ref().map(|image| image.name.clone());
        let (id, name) = (config.id.clone(), config.name.clone());
        let subject = Subject {
            id,
            name,
            image: image.unwrap_or_default(),
            pod: config.pod.clone(),
            labels: config.labels.clone(),
        };
        let volume = |volume: &Volume| {
            let used = volume.volume.as_ref()?;
            let destination = volume.destination.display().to_string();
            Some(MountedVolume { name: used.name.clone(), destination, read_only: volume.is_read_only() })
        };
        let volumes = config.files.volumes.iter().filter_map(volume).collect();
        Reporter::new(self.event_log().cloned(), subject).with_volumes(volumes)
    }

    /// Tells what has happened to a container.
    pub(crate) fn tell(&self, config: &Config, what: What) {
        let reporter = self.reporter(config);
        reporter.tell(&[reporter.event(what)]);
    }

    /// Tells what was done with an image of that id under that name.
    pub(crate) fn tell_of_image(&self, what: What, id: &str, name: &str) {
        let subject = Subject { id: id.to_owned(), name: name.to_owned(), ..Subject::default() };
        self.tell_event(Event::new(Kind::Image, what, &subject));
    }

    /// Tells what was done with a volume.
    pub(crate) fn tell_of_volume(&self, what: What, name: &str, labels: &BTreeMap<String, String>) {
        let subject = Subject { name: name.to_owned(), labels: labels.clone(), ..Subject::default() };
        self.tell_event(Event::new(Kind::Volume, what, &subject));
    }

    /// Tells what was done with a pod.
    pub(crate) fn tell_of_pod(&self, what: What, pod: &Pod) {
        let (id, name, labels) = (pod.id.clone(), pod.name.clone(), pod.labels.clone());
        self.tell_event(Event::new(Kind::Pod, what, &Subject { id, name, labels, ..Subject::default() }));
    }

    /// Tells what was done with a secret.
    pub(crate) fn tell_of_secret(&self, what: What, secret: &StoredSecret) {
        let (id, name, labels) = (secret.id.clone(), secret.name.clone(), secret.labels.clone());
        self.tell_event(Event::new(Kind::Secret, what, &Subject { id, name, labels, ..Subject::default() }));
    }

    /// Tells that an image could not be fetched.
    pub(crate) fn tell_of_pull(&self, name: &str, error: &Error) {
        let subject = Subject { name: name.to_owned(), ..Subject::default() };
        // The words are Podman's: programs that watch look for them.
        let why = match error.refused_connection() {
            Some((host, source)) => format!("pinging container registry {host}: {}", in_go(source)),
            None => error.to_string(),
        };
        self.tell_event(Event::new(Kind::Image, What::PullError, &subject).with(more::ERROR, why));
    }

    /// Tells that what is not used was removed.
    pub(crate) fn tell_of_prune(&self, kind: Kind, reclaimed: u64) {
        self.tell_event(Event::new(kind, What::Prune, &Subject::default()).with(more::RECLAIMED, reclaimed));
    }

    /// Writes an event. That it could not be written, on a disk that is full, stops nothing.
    pub(crate) fn tell_event(&self, event: Event) {
        if let Some(log) = self.event_log() {
            let _ = log.write(&[event]);
        }
    }

    /// How a container that is not there any more has ended, if that was told.
    pub(crate) fn told_exit_code(&self, id: &str) -> Option<i32> {
        let mut reader = Reader::open(self.event_log()?, From::Start).ok()?.mentioning(id);
        let mut code = None;
        while let Ok(Some(event)) = reader.next() {
            if event.kind == Kind::Container && event.what == What::Died && event.subject.id == id {
                code = event.exit_code();
            }
        }
        code
    }
}

//! One thing that has happened.

use std::collections::BTreeMap;
use std::io;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::words::{Kind, What, Words};

/// The version of a line.
const VERSION: u32 = 1;
/// What each line begins with. Nothing within can look like it: there, quotes are escaped.
pub(crate) const BEGINNING: &[u8] = b"{\"v\":";
/// The most bytes of a line.
pub(crate) const MAX_LINE: usize = 1 << 20;

/// Names of what an event says besides, which are Docker's.
pub mod more {
    /// What runs.
    pub const COMMAND: &str = "command";
    /// The id of the container that a volume is mounted in.
    pub const CONTAINER: &str = "container";
    /// Where that is.
    pub const DESTINATION: &str = "destination";
    /// Who made a volume.
    pub const DRIVER: &str = "driver";
    /// What went wrong.
    pub const ERROR: &str = "error";
    /// The number of a further program in a container.
    pub const EXEC_ID: &str = "execID";
    /// How a program has ended.
    pub const EXIT_CODE: &str = "exitCode";
    /// What a health check came to.
    pub const HEALTH_STATUS: &str = "healthStatus";
    /// How many checks in a row have failed.
    pub const HEALTH_STREAK: &str = "healthFailingStreak";
    /// What a thing was called before.
    pub const OLD_NAME: &str = "oldName";
    /// How mounts below a volume spread.
    pub const PROPAGATION: &str = "propagation";
    /// Whether a volume can be written to.
    pub const READ_WRITE: &str = "read/write";
    /// Bytes that are free now.
    pub const RECLAIMED: &str = "reclaimed";
    /// The number of a signal.
    pub const SIGNAL: &str = "signal";
}

/// What an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// Without `sha256:`.
    pub id: String,
    /// Of an image, in full.
    pub name: String,
    /// The name of the image that a container was made from, in full.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// The id of the pod that a container is in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pod: String,
    /// The user's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// One thing that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When: nanoseconds since 1970.
    pub at: i64,
    /// What kind of thing it is about.
    pub kind: Kind,
    /// What has happened.
    pub what: What,
    /// To which one.
    pub subject: Subject,
    /// And besides, by a name of [`more`].
    pub more: BTreeMap<String, String>,
}

/// As it is written; not flattened, which would cost a copy of everything when it is read.
#[derive(Serialize)]
struct Out<'e> {
    v: u32,
    at: i64,
    kind: Kind,
    what: What,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'e str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'e str,
    #[serde(skip_serializing_if = "str::is_empty")]
    image: &'e str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pod: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'e BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<&'e BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct In {
    v: u32,
    at: i64,
    kind: Kind,
    what: What,
    #[serde(default)]
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    image: String,
    #[serde(default)]
    pod: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    more: BTreeMap<String, String>,
}

impl Event {
    /// Something that happens now.
    pub fn new(kind: Kind, what: What, subject: &Subject) -> Self {
        let now = clock_gettime(ClockId::Realtime);
        let at = now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec);
        Self { at, kind, what, subject: subject.clone(), more: BTreeMap::new() }
    }

    /// The same, which says more; a name of [`more`] and its value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.more.insert(name.to_owned(), value.to_string());
        self
    }

    /// What it is called, in the order in which it is told; nothing where it is not told.
    pub(crate) fn words(&self, words: Words) -> &'static [&'static str] {
        // Of containers that begin and end Podman tells no more than that.
        let is_containers = self.kind == Kind::Volume && self.more.contains_key(more::CONTAINER);
        match words {
            Words::Podman if is_containers => &[],
            _ => self.what.words(self.kind, words),
        }
    }

    /// How the program it is about has ended.
    pub fn exit_code(&self) -> Option<i32> {
        self.more.get(more::EXIT_CODE)?.parse().ok()
    }

    /// Adds its line. One that would be too long goes without what makes it so.
    pub(crate) fn write_line(&self, to: &mut Vec<u8>) -> io::Result<()> {
        let from = to.len();
        self.write_with(to, true)?;
        if to.len() - from > MAX_LINE {
            to.truncate(from);
            self.write_with(to, false)?;
        }
        Ok(())
    }

    fn write_with(&self, to: &mut Vec<u8>, all: bool) -> io::Result<()> {
        let full = |map: &'_ BTreeMap<String, String>| all && !map.is_empty();
        let out = Out {
            v: VERSION,
            at: self.at,
            kind: self.kind,
            what: self.what,
            id: &self.subject.id,
            name: &self.subject.name,
            image: &self.subject.image,
            pod: &self.subject.pod,
            labels: full(&self.subject.labels).then_some(&self.subject.labels),
            more: full(&self.more).then_some(&self.more),
        };
        serde_json::to_writer(&mut *to, &out)?;
        to.push(b'\n');
        Ok(())
    }

    /// Reads a line, without its end; `None` for one that says nothing to this version. What a killed writer has left before the
    /// line, because nothing ended it, is passed over.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let parse = |bytes: &[u8]| serde_json::from_slice::<In>(bytes).ok();
        let found = parse(line).or_else(|| {
            let last = line.windows(BEGINNING.len()).rposition(|part| part == BEGINNING)?;
            if last > 0 { parse(&line[last..]) } else { None }
        })?;
        let In { v, at, kind, what, id, name, image, pod, labels, more } = found;
        let subject = Subject { id, name, image, pod, labels };
        (v <= VERSION).then_some(Self { at, kind, what, subject, more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(event: &Event) -> Vec<u8> {
        let mut line = Vec::new();
        event.write_line(&mut line).unwrap();
        line
    }

    #[test]
    fn lines_are_read_as_they_were_written() {
        let labels = BTreeMap::from([("a".to_owned(), "\"{\"v\":1\n".to_owned())]);
        let subject = Subject {
            id: "1f".into(),
            name: "web\u{1}é".into(),
            image: "x".into(),
            labels,
            ..Subject::default()
        };
        let event = Event::new(Kind::Container, What::Died, &subject).with(more::EXIT_CODE, 137);
        let text = line(&event);
        assert!(text.starts_with(BEGINNING) && text.ends_with(b"\n"));
        assert_eq!(text.iter().filter(|&&b| b == b'\n').count(), 1);
        assert_eq!(Event::parse(&text[..text.len() - 1]), Some(event.clone()));
        assert_eq!(event.exit_code(), Some(137));
        // Whatever a killed writer has left before it.
        for torn in 0..text.len() - 1 {
            let glued = [&text[..torn], &text[..text.len() - 1]].concat();
            assert_eq!(Event::parse(&glued), Some(event.clone()), "{torn}");
        }
    }

    #[test]
    fn what_is_no_event_is_none() {
        let newer = br#"{"v":2,"at":1,"kind":"image","what":"pull"}"#;
        let word = br#"{"v":1,"at":1,"kind":"image","what":"sleep"}"#;
        let foreign = br#"{"Name":"x","Status":"pull","Time":"2026-11-22T00:41:04Z","Type":"image"}"#;
        for text in [&b""[..], b"\0\0\0", b"{", b"{\"v\":", newer, word, foreign] {
            assert_eq!(Event::parse(text), None, "{}", String::from_utf8_lossy(text));
        }
        let little = Event::parse(br#"{"v":1,"at":5,"kind":"image","what":"pull","later":[1]}"#).unwrap();
        assert_eq!((little.at, little.what, little.exit_code()), (5, What::Pull, None));
    }

    #[test]
    fn a_line_has_a_limit() {
        let labels = BTreeMap::from([("a".to_owned(), "x".repeat(MAX_LINE))]);
        let subject = Subject { id: "1f".into(), labels, ..Subject::default() };
        let text = line(&Event::new(Kind::Container, What::Create, &subject));
        let read = Event::parse(&text[..text.len() - 1]).unwrap();
        assert_eq!((read.subject.id.as_str(), read.subject.labels.len()), ("1f", 0));
    }
}

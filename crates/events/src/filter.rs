//! Which events are wanted: Podman's filters and Docker's.

use std::collections::BTreeMap;

use crate::event::Event;
use crate::words::{Kind, Words};

/// A filter that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// As it was given.
    pub text: String,
    /// What to do about it.
    pub hint: String,
}

/// Filters: of one name, one must be true; of all names, each. (Of labels, Docker wants all.)
#[derive(Clone, Debug)]
pub struct Filters {
    words: Words,
    by_name: BTreeMap<String, Vec<String>>,
    /// Nanoseconds since 1970.
    since: Option<i64>,
    until: Option<i64>,
}

const KNOWN: [&str; 12] = [
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "pod",
    "scope",
    "secret",
    "status",
    "type",
    "volume",
];

impl Filters {
    /// Reads filters, each `NAME=VALUE`, in the language of `words`, which is also that of what is shown.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn parse(texts: &[String], words: Words) -> Result<Self, FilterError> {
        let mut by_name: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for text in texts {
            let bad = |hint: String| FilterError { text: text.clone(), hint };
            let (name, value) = text.split_once('=').ok_or_else(|| bad("use NAME=VALUE".into()))?;
            let name = name.trim().to_ascii_lowercase();
            if !KNOWN.contains(&name.as_str()) {
                return Err(bad(format!("use {}", KNOWN.join(", "))));
            }
            // Two names for one thing, as Podman has it.
            let name = if name == "status" { "event".to_owned() } else { name };
            by_name.entry(name).or_default().push(value.to_owned());
        }
        Ok(Self { words, by_name, since: None, until: None })
    }

    /// The same, for events after a moment and before another one, in nanoseconds since 1970.
    #[must_use]
    pub fn between(self, since: Option<i64>, until: Option<i64>) -> Self {
        Self { since, until, ..self }
    }

    /// Under which words an event is to be shown: mostly one; none if it is not wanted.
    pub fn shown(&self, event: &Event) -> Vec<&'static str> {
        let late = self.until.is_some_and(|until| event.at >= until);
        if late || self.since.is_some_and(|since| event.at <= since) {
            return Vec::new();
        }
        if !self.by_name.iter().all(|(name, values)| self.holds(event, name, values)) {
            return Vec::new();
        }
        let mut words = event.words(self.words).to_vec();
        if let Some(wanted) = self.by_name.get("event") {
            words.retain(|word| {
                wanted.iter().any(|wanted| {
                    // `health_status: healthy` and `exec_start: sh` are words of Docker's, too.
                    let first = wanted.split(':').next().unwrap_or_default();
                    let says = event.more.values().any(|more| wanted[first.len()..] == format!(": {more}"));
                    *word == wanted || *word == first && says || self.is_same(event, wanted, word)
                })
            });
        }
        words
    }

    /// Whether another one's word for an event was given; `word` is the one in which it is shown.
    fn is_same(&self, event: &Event, wanted: &str, word: &str) -> bool {
        let other = if self.words == Words::Podman { Words::Docker } else { Words::Podman };
        let theirs = event.words(other);
        // A word that means something else here is not theirs.
        let ours = event.words(self.words);
        theirs.contains(&wanted) && !ours.contains(&wanted) && ours.first() == Some(&word)
    }

    fn holds(&self, event: &Event, name: &str, values: &[String]) -> bool {
        let any = |test: &dyn Fn(&str) -> bool| values.iter().any(|value| test(value));
        let subject = &event.subject;
        let is = |kind: Kind| {
            event.kind == kind
                && any(&|value| {
                    let id = value.trim_start_matches("sha256:");
                    let starts = self.words == Words::Docker || kind == Kind::Volume;
                    let named = if starts { subject.name.starts_with(value) } else { subject.name == value };
                    named || !id.is_empty() && subject.id.starts_with(id)
                })
        };
        match name {
            "event" => true,
            "type" => any(&|value| value == event.kind.word(self.words) || value == event.kind.name()),
            "container" => is(Kind::Container),
            "pod" => is(Kind::Pod),
            "volume" => is(Kind::Volume),
            "network" => is(Kind::Network),
            "secret" => is(Kind::Secret),
            "daemon" => is(Kind::System),
            "scope" => any(&|value| value == "local"),
            "image" => match event.kind {
                Kind::Image => is(Kind::Image) || any(&|value| names_image(value, &subject.name)),
                // Docker tells of containers from the image, too.
                Kind::Container if self.words == Words::Docker => {
                    any(&|value| names_image(value, &subject.image))
                }
                _ => false,
            },
            "label" => {
                let fits = |value: &str| match value.split_once('=') {
                    Some((key, value)) => subject.labels.get(key).is_some_and(|found| found == value),
                    None => subject.labels.contains_key(value),
                };
                match self.words {
                    Words::Podman => any(&fits),
                    Words::Docker => values.iter().all(|value| fits(value)),
                }
            }
            _ => false,
        }
    }
}

/// Whether somebody who types `wanted` means the image with the name `full`: in full or as Docker shortens it, with or without what
/// comes after the name.
fn names_image(wanted: &str, full: &str) -> bool {
    if wanted.is_empty() || full.is_empty() {
        return false;
    }
    let short = full.strip_prefix("docker.io/").unwrap_or(full);
    let shorter = short.strip_prefix("library/").unwrap_or(short);
    [full, short, shorter].iter().any(|name| {
        let digestless = name.split('@').next().unwrap_or(name);
        let slash = digestless.rfind('/').map_or(0, |at| at + 1);
        let tagless = digestless[slash..].find(':').map_or(digestless, |at| &digestless[..slash + at]);
        [*name, digestless, tagless].contains(&wanted)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Subject, more};
    use crate::words::What;

    fn event(kind: Kind, what: What) -> Event {
        let labels = BTreeMap::from([("a".into(), "b".into()), ("c".into(), "d=e".into())]);
        let (id, name) = ("1f2e3d".into(), "web".into());
        let image = "docker.io/library/busybox:latest".into();
        let subject = Subject { id, name, image, labels, ..Subject::default() };
        let subject = match kind {
            Kind::Image => Subject { name: "docker.io/library/busybox:latest".into(), ..subject },
            _ => subject,
        };
        Event { at: 100, ..Event::new(kind, what, &subject) }
    }

    #[track_caller]
    fn shown(words: Words, filters: &[&str], event: &Event) -> Vec<&'static str> {
        let texts: Vec<_> = filters.iter().map(|&f| f.to_owned()).collect();
        Filters::parse(&texts, words).unwrap().shown(event)
    }

    #[test]
    fn of_one_name_one_and_of_all_names_each_must_hold() {
        let died = event(Kind::Container, What::Died);
        let cases: [(&[&str], bool); 16] = [
            (&[], true),
            (&["container=web"], true),
            (&["container=we"], false),
            (&["container=1f2"], true),
            (&["container=x", "container=web"], true),
            (&["container=web", "event=start"], false),
            (&["container=web", "event=start", "event=died"], true),
            (&["event=die"], true),
            (&["status=died"], true),
            (&["EVENT=died"], true),
            (&["type=container"], true),
            (&["type=image"], false),
            (&["label=a"], true),
            (&["label=c=d=e", "label=no"], true),
            (&["label=a=x"], false),
            (&["image=busybox"], false),
        ];
        for (filters, wanted) in cases {
            let expected: &[&str] = if wanted { &["died"] } else { &[] };
            assert_eq!(shown(Words::Podman, filters, &died), expected, "{filters:?}");
        }
    }

    #[test]
    fn docker_has_its_own_ways() {
        let died = event(Kind::Container, What::Died);
        let docker = |filters: &[&str], event: &Event| shown(Words::Docker, filters, event);
        assert_eq!(docker(&["event=die"], &died), ["die"]);
        assert_eq!(docker(&["event=died"], &died), ["die"], "a script for the other one works");
        assert_eq!(docker(&["container=we"], &died), ["die"]);
        assert_eq!(docker(&["image=busybox"], &died), ["die"]);
        assert_eq!(docker(&["label=a", "label=no"], &died), [""; 0]);
        assert_eq!(docker(&["label=a", "label=c"], &died), ["die"]);
        assert_eq!(docker(&[], &event(Kind::Container, What::Init)), [""; 0]);
        let exec = event(Kind::Container, What::Exec).with(more::COMMAND, "sh -c x");
        assert_eq!(docker(&[], &exec), ["exec_create", "exec_start"]);
        assert_eq!(docker(&["event=exec_start"], &exec), ["exec_start"]);
        assert_eq!(docker(&["event=exec_start: sh -c x"], &exec), ["exec_start"]);
        assert_eq!(docker(&["event=exec_start: sh"], &exec), [""; 0]);
        let health = event(Kind::Container, What::HealthStatus).with(more::HEALTH_STATUS, "healthy");
        assert_eq!(docker(&["event=health_status: healthy"], &health), ["health_status"]);
        assert_eq!(docker(&["event=health_status: unhealthy"], &health), [""; 0]);
        assert_eq!(docker(&["event=destroy"], &event(Kind::Container, What::Remove)), ["destroy"]);
        assert_eq!(docker(&["event=destroy"], &event(Kind::Image, What::Remove)), [""; 0]);
        assert_eq!(docker(&["type=daemon"], &event(Kind::System, What::Prune)), ["prune"]);
    }

    #[test]
    fn images_are_meant_by_any_of_their_names() {
        let pull = event(Kind::Image, What::Pull);
        for name in
            ["busybox", "busybox:latest", "library/busybox", "docker.io/library/busybox:latest", "1f2e"]
        {
            let filter = format!("image={name}");
            assert_eq!(shown(Words::Podman, &[&filter], &pull), ["pull"], "{name}");
        }
        for name in ["busy", "latest", "docker.io"] {
            assert_eq!(shown(Words::Podman, &[&format!("image={name}")], &pull), [""; 0], "{name}");
        }
        assert!(names_image("localhost:5000/x", "localhost:5000/x:1"));
        assert!(names_image("x", "docker.io/library/x@sha256:00"));
        assert!(!names_image("localhost", "localhost:5000/x:1"));
    }

    #[test]
    fn moments_are_limits() {
        let died = event(Kind::Container, What::Died);
        let between = |since, until| {
            let filters = Filters::parse(&[], Words::Podman).unwrap().between(since, until);
            !filters.shown(&died).is_empty()
        };
        assert!(between(Some(99), Some(101)) && between(None, None));
        assert!(!between(Some(100), None) && !between(None, Some(100)));
    }

    #[test]
    fn what_is_no_filter_is_an_error() {
        for text in ["container", "colour=red", "=x"] {
            assert_eq!(Filters::parse(&[text.to_owned()], Words::Podman).unwrap_err().text, text);
        }
    }
}

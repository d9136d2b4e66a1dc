//! `events`

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{ArgAction, Parser};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use loment_events::{Event, Filters, From, Kind, Reader, What, Words, more};
use loment_image::Reference;
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::{Doing, Error};
use crate::globals::Globals;
use crate::output::{complain, execute, print};

/// Show what happens to containers and images, as it happens
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Show only those with this container, event, image, label, network, pod, secret, type or volume
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Print each as json, or with a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Do not shorten ids [default: true]
    #[arg(long, default_value_t = true, hide_default_value = true, hide_possible_values = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", action = ArgAction::Set)]
    no_trunc: bool,
    /// Begin with those after a time (RFC 3339, or seconds since 1970), or with those of the last 10m
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Go on with those to come; without, show what has happened so far [default: true]
    #[arg(long, default_value_t = true, hide_default_value = true, hide_possible_values = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", action = ArgAction::Set)]
    stream: bool,
    /// End at a time, or in 10m (for docker: 10m ago)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let settings = crate::events::settings(globals.events)?;
    let words = if globals.persona.docker_documents { Words::Docker } else { Words::Podman };
    let now = Timestamp::now();
    let ahead = words == Words::Podman;
    let time = |flag: &str, text: &Option<String>, ahead| {
        let time = text.as_deref().map(|text| moment(text, now, ahead)).transpose();
        time.map_err(|why| Error::Invalid(format!("failed to parse event filters: --{flag}: {why}")))
    };
    let since = time("since", &flags.since, false)?;
    let until = time("until", &flags.until, ahead)?;
    let nanoseconds = |time: Timestamp| i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX);
    let filters = Filters::parse(&flags.filter, words)
        .map_err(|bad| {
            Error::Invalid(format!(
                "failed to parse event filters: invalid filter {:?}: {}",
                bad.text, bad.hint
            ))
        })?
        .between(since.map(nanoseconds), until.map(nanoseconds));
    let engine = globals.engine()?;
    let Some(log) = engine.event_log() else {
        return Err(Error::Invalid("cannot read events with the \"none\" backend".into()));
    };
    if settings.wants_journal {
        complain(
            "Warning: events_logger in containers.conf is journald, which is not supported yet: they are in a file",
        );
    }
    let printer = Printer::new(flags, words);
    let reading = || format!("read events in {}", log.path().display());
    let all = since.is_some() || until.is_some() || !flags.stream;
    let mut reader = Reader::open(log, if all { From::Start } else { From::End }).doing(reading)?;
    loop {
        while let Some(event) = reader.next().doing(reading)? {
            for word in filters.shown(&event) {
                print(&printer.line(&event, word)?)?;
            }
        }
        let left = until.map(|until| until.duration_since(Timestamp::now()));
        if !flags.stream || left.is_some_and(|left| !left.is_positive()) {
            return Ok(0);
        }
        let left = left.map(|left| Duration::try_from(left).unwrap_or_default());
        reader.wait(left).doing(reading)?;
    }
}

/// A moment, or a time from now: `ahead`, or ago.
fn moment(text: &str, now: Timestamp, ahead: bool) -> Result<Timestamp, Error> {
    if text.parse::<f64>().is_err()
        && let Ok(time) = text.parse::<jiff::SignedDuration>()
    {
        let there = if ahead { now.checked_add(time) } else { now.checked_sub(time) };
        return there.map_err(|e| Error::Invalid(format!("invalid time {text:?}: {e}")));
    }
    let hint = "use a time such as 2026-01-31T12:00:00Z, or a duration such as 10m";
    loment_engine::moment(text).ok_or_else(|| Error::Invalid(format!("invalid time {text:?}: {hint}")))
}

/// How events are shown.
struct Printer<'f> {
    words: Words,
    /// A template; none for a line of text.
    template: Option<&'f str>,
    json: bool,
    shorten: bool,
    zone: TimeZone,
}

impl<'f> Printer<'f> {
    fn new(flags: &'f Flags, words: Words) -> Self {
        let template = flags.format.as_deref().filter(|format| !format.is_empty());
        let letters = |format: &str| format.split_whitespace().collect::<String>();
        let json = template.is_some_and(|t| ["json", "{{json.}}", "{{json}}"].contains(&letters(t).as_str()));
        Self { words, template, json, shorten: !flags.no_trunc, zone: TimeZone::system() }
    }

    /// An event under one of its words, with the line's end.
    fn line(&self, event: &Event, word: &str) -> Result<String, Error> {
        let (document, record) = match self.words {
            Words::Podman => {
                let line = PodmanLine::of(event, word);
                (serde_json::to_string(&line).unwrap_or_default(), line.fields())
            }
            Words::Docker => {
                let line = DockerLine::of(event, word);
                (serde_json::to_string(&line).unwrap_or_default(), line.fields())
            }
        };
        let text = match self.template {
            _ if self.json => document,
            Some(template) => execute(template, &record)?,
            None if self.words == Words::Docker => self.docker_text(&DockerLine::of(event, word)),
            None => self.podman_text(event, word),
        };
        Ok(text + "\n")
    }

    fn podman_text(&self, event: &Event, word: &str) -> String {
        let subject = &event.subject;
        let end = if self.shorten { subject.id.len().min(12) } else { subject.id.len() };
        let (id, name) = (&subject.id[..end], &subject.name);
        // As Go prints a time.
        let time = self.time(event).strftime("%Y-%m-%d %H:%M:%S%.f %z %Z").to_string();
        let head = format!("{time} {} {word}", event.kind.name());
        match event.kind {
            Kind::Container | Kind::Pod => {
                let mut more = format!("image={}, name={name}", subject.image);
                if !subject.pod.is_empty() {
                    more += &format!(", pod_id={}", subject.pod);
                }
                if let Some(health) = event.more.get(more::HEALTH_STATUS) {
                    more += &format!(", health_status={health}");
                }
                for (key, value) in attributes(event) {
                    more += &format!(", {key}={value}");
                }
                format!("{head} {id} ({more})")
            }
            Kind::Network => format!("{head} {id} (name={name})"),
            Kind::Secret => format!("{head} {id}"),
            Kind::Volume => format!("{head} {name}"),
            Kind::Artifact | Kind::Image | Kind::System => {
                let error = event.more.get(more::ERROR).map(String::as_str).unwrap_or_default();
                // What could not be pulled has a name and no id, and its place is left blank.
                let parts =
                    if event.kind == Kind::System { vec![name, error] } else { vec![id, name, error] };
                let text = parts.iter().fold(head, |text, part| format!("{text} {part}"));
                text.trim_end().to_owned()
            }
        }
    }

    fn docker_text(&self, line: &DockerLine) -> String {
        let time = self.time_of(line.time_nano);
        let zone = if time.offset().seconds() == 0 { "Z" } else { "%:z" };
        let time = time.strftime(&format!("%Y-%m-%dT%H:%M:%S%.9f{zone}")).to_string();
        let mut text = format!("{time} {} {} {}", line.kind, line.action, line.actor.id);
        if !line.actor.attributes.is_empty() {
            let all = line.actor.attributes.iter().map(|(key, value)| format!("{key}={value}"));
            text += &format!(" ({})", all.collect::<Vec<_>>().join(", "));
        }
        text
    }

    fn time(&self, event: &Event) -> jiff::Zoned {
        self.time_of(event.at)
    }

    fn time_of(&self, nanoseconds: i64) -> jiff::Zoned {
        Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or_default().to_zoned(self.zone.clone())
    }
}

/// The user's labels, and what Podman has beside them.
fn attributes(event: &Event) -> BTreeMap<&str, &str> {
    let labels = event.subject.labels.iter();
    let more = event.more.iter().filter(|(name, _)| *name == more::EXEC_ID);
    labels.chain(more).map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// An event as Podman 6 prints one as json.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PodmanLine<'e> {
    #[serde(skip_serializing_if = "Option::is_none")]
    container_exit_code: Option<i32>,
    #[serde(rename = "ID", skip_serializing_if = "str::is_empty")]
    id: &'e str,
    #[serde(skip_serializing_if = "str::is_empty")]
    image: &'e str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'e str,
    #[serde(rename = "network", skip_serializing_if = "str::is_empty")]
    network: &'e str,
    status: &'e str,
    #[serde(rename = "time")]
    time: i64,
    #[serde(rename = "timeNano")]
    time_nano: i64,
    #[serde(rename = "Type")]
    kind: &'e str,
    #[serde(rename = "health_status", skip_serializing_if = "str::is_empty")]
    health_status: &'e str,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'e str,
    #[serde(rename = "PodID", skip_serializing_if = "str::is_empty")]
    pod_id: &'e str,
    /// Null for all but containers and pods.
    attributes: Option<BTreeMap<&'e str, &'e str>>,
}

impl<'e> PodmanLine<'e> {
    fn of(event: &'e Event, word: &'e str) -> Self {
        let more = |name: &str| event.more.get(name).map(String::as_str).unwrap_or_default();
        let subject = &event.subject;
        let is_network = event.kind == Kind::Network;
        Self {
            container_exit_code: event.exit_code(),
            id: &subject.id,
            image: &subject.image,
            name: if is_network { "" } else { &subject.name },
            network: if is_network { &subject.name } else { "" },
            status: word,
            time: event.at.div_euclid(1_000_000_000),
            time_nano: event.at,
            kind: event.kind.name(),
            health_status: more(more::HEALTH_STATUS),
            error: more(more::ERROR),
            pod_id: &subject.pod,
            attributes: matches!(event.kind, Kind::Container | Kind::Pod).then(|| attributes(event)),
        }
    }

    /// What templates see.
    fn fields(&self) -> Value {
        json!({
            "ContainerExitCode": self.container_exit_code, "ID": self.id, "Image": self.image,
            "Name": self.name, "Network": self.network, "Status": self.status, "Time": self.time,
            "TimeNano": self.time_nano, "Type": self.kind, "HealthStatus": self.health_status,
            "Error": self.error, "PodID": self.pod_id, "Attributes": self.attributes,
            "Details": {"PodID": self.pod_id, "Attributes": self.attributes},
        })
    }
}

/// An event as Docker 28 prints one as json.
#[derive(Serialize)]
struct DockerLine {
    #[serde(skip_serializing_if = "String::is_empty")]
    status: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    from: String,
    #[serde(rename = "Type")]
    kind: &'static str,
    #[serde(rename = "Action")]
    action: String,
    #[serde(rename = "Actor")]
    actor: Actor,
    scope: &'static str,
    time: i64,
    #[serde(rename = "timeNano")]
    time_nano: i64,
}

#[derive(Serialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Attributes")]
    attributes: BTreeMap<String, String>,
}

impl DockerLine {
    fn of(event: &Event, word: &str) -> Self {
        let subject = &event.subject;
        let short = |name: &str| {
            name.parse::<Reference>().map_or_else(|_| name.to_owned(), |reference| reference.familiar())
        };
        let mut attributes = subject.labels.clone();
        attributes.extend(event.more.clone());
        // What these two say is behind the word, not beside it.
        let said = match event.what {
            What::Exec => attributes.remove(more::COMMAND),
            What::HealthStatus => attributes.remove(more::HEALTH_STATUS),
            _ => None,
        };
        let action = said.map_or_else(|| word.to_owned(), |said| format!("{word}: {said}"));
        let id = match (event.kind, event.what) {
            (Kind::Image, What::Pull | What::Push) => short(&subject.name),
            (Kind::Image, _) if !subject.id.is_empty() => format!("sha256:{}", subject.id),
            (Kind::Volume, _) => subject.name.clone(),
            _ => subject.id.clone(),
        };
        let name = match event.kind {
            Kind::Image if event.what == What::Remove => id.clone(),
            Kind::Image => short(&subject.name),
            _ => subject.name.clone(),
        };
        if !name.is_empty() && event.kind != Kind::Volume {
            attributes.insert("name".into(), name);
        }
        let image = short(&subject.image);
        if event.kind == Kind::Container {
            attributes.insert("image".into(), image.clone());
        }
        // Those three are for clients of long ago, and only containers and images have them.
        let old = matches!(event.kind, Kind::Container | Kind::Image);
        Self {
            status: if old { action.clone() } else { String::new() },
            id: if old { id.clone() } else { String::new() },
            from: if event.kind == Kind::Container { image } else { String::new() },
            kind: event.kind.word(Words::Docker),
            action,
            actor: Actor { id, attributes },
            scope: "local",
            time: event.at.div_euclid(1_000_000_000),
            time_nano: event.at,
        }
    }

    /// What templates see.
    fn fields(&self) -> Value {
        json!({
            "Status": self.status, "ID": self.id, "From": self.from, "Type": self.kind,
            "Action": self.action, "Actor": self.actor, "Scope": self.scope, "Time": self.time,
            "TimeNano": self.time_nano,
        })
    }
}

#[cfg(test)]
mod tests {
    use loment_events::Subject;

    use super::*;

    fn event(kind: Kind, what: What) -> Event {
        let subject = Subject {
            id: "1f2e".repeat(16),
            name: "web".into(),
            image: "docker.io/library/busybox:latest".into(),
            labels: BTreeMap::from([("a".into(), "b".into())]),
            ..Subject::default()
        };
        Event { at: 1_551_543_222_312_377_000, ..Event::new(kind, what, &subject) }
    }

    fn printer(words: Words, template: Option<&str>, json: bool) -> Printer<'_> {
        Printer { words, template, json, shorten: words == Words::Podman, zone: TimeZone::UTC }
    }

    #[test]
    fn lines_are_those_of_podman() {
        let died = event(Kind::Container, What::Died).with(more::EXIT_CODE, 3);
        let text = printer(Words::Podman, None, false).line(&died, "died").unwrap();
        let expected = "2019-03-02 16:13:42.312377 +0000 UTC container died 1f2e1f2e1f2e \
                        (image=docker.io/library/busybox:latest, name=web, a=b)\n";
        assert_eq!(text, expected);
        let text = printer(Words::Podman, Some("json"), true).line(&died, "died").unwrap();
        let expected = format!(
            "{{\"ContainerExitCode\":3,\"ID\":\"{}\",\"Image\":\"docker.io/library/busybox:latest\",\"Name\":\"web\",\
             \"Status\":\"died\",\"time\":1551543222,\"timeNano\":1551543222312377000,\"Type\":\"container\",\
             \"Attributes\":{{\"a\":\"b\"}}}}\n",
            "1f2e".repeat(16)
        );
        assert_eq!(text, expected);
        let pull = Event {
            subject: Subject { name: "x:1".into(), ..Subject::default() },
            ..event(Kind::Image, What::Pull)
        };
        let text = printer(Words::Podman, None, false).line(&pull, "pull").unwrap();
        assert_eq!(text, "2019-03-02 16:13:42.312377 +0000 UTC image pull  x:1\n");
        let template = "{{.Status}} {{.Attributes.a}} {{.ContainerExitCode}} {{.Time}}";
        let text = printer(Words::Podman, Some(template), false).line(&died, "died").unwrap();
        assert_eq!(text, "died b 3 1551543222\n");
    }

    #[test]
    fn lines_are_those_of_docker() {
        let id = "1f2e".repeat(16);
        let died = event(Kind::Container, What::Died).with(more::EXIT_CODE, 3);
        let text = printer(Words::Docker, None, false).line(&died, "die").unwrap();
        let expected = format!(
            "2019-03-02T16:13:42.312377000Z container die {id} (a=b, exitCode=3, image=busybox:latest, name=web)\n"
        );
        assert_eq!(text, expected);
        let text = printer(Words::Docker, Some("json"), true).line(&died, "die").unwrap();
        let expected = format!(
            "{{\"status\":\"die\",\"id\":\"{id}\",\"from\":\"busybox:latest\",\"Type\":\"container\",\"Action\":\"die\",\
             \"Actor\":{{\"ID\":\"{id}\",\"Attributes\":{{\"a\":\"b\",\"exitCode\":\"3\",\"image\":\"busybox:latest\",\
             \"name\":\"web\"}}}},\"scope\":\"local\",\"time\":1551543222,\"timeNano\":1551543222312377000}}\n"
        );
        assert_eq!(text, expected);
        let exec = event(Kind::Container, What::Exec).with(more::COMMAND, "sh -c x");
        let text = printer(Words::Docker, Some("{{.Action}} {{.Actor.Attributes.name}}"), false);
        assert_eq!(text.line(&exec, "exec_start").unwrap(), "exec_start: sh -c x web\n");
        let pull = Event {
            subject: Subject { name: "docker.io/library/x:1".into(), id: "1f".into(), ..Subject::default() },
            ..event(Kind::Image, What::Pull)
        };
        let text = printer(Words::Docker, None, false).line(&pull, "pull").unwrap();
        assert_eq!(text, "2019-03-02T16:13:42.312377000Z image pull x:1 (name=x:1)\n");
    }

    #[test]
    fn times_are_read_from_now_or_as_they_are() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let at = |text, ahead| moment(text, now, ahead).map(|time| time.to_string()).ok();
        assert_eq!(at("10m", false).as_deref(), Some("2026-01-31T11:50:00Z"));
        assert_eq!(at("10m", true).as_deref(), Some("2026-01-31T12:10:00Z"));
        assert_eq!(at("-1h30m", false).as_deref(), Some("2026-01-31T13:30:00Z"));
        for text in
            ["1551543222", "1551543222.312377", "2019-03-02T16:13:42Z", "2019-03-02", "2019-03-02T16:13"]
        {
            let time = moment(text, now, true).unwrap();
            assert_eq!(time.to_string()[..10], *"2019-03-02", "{text}");
        }
        assert_eq!(at("soon", true), None);
    }
}

//! Instructions of a Dockerfile that change an image's configuration only, as `import --change` takes them.

use std::str::FromStr;

use serde_json::{Map, Value, json};

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `CMD`
    Cmd(Vec<String>),
    /// `ENTRYPOINT`
    Entrypoint(Vec<String>),
    /// `ENV`: names with their values.
    Env(Vec<(String, String)>),
    /// `EXPOSE`: ports with their protocols.
    Expose(Vec<String>),
    /// `LABEL`
    Label(Vec<(String, String)>),
    /// `ONBUILD`
    OnBuild(String),
    /// `STOPSIGNAL`
    StopSignal(String),
    /// `USER`
    User(String),
    /// `VOLUME`
    Volume(Vec<String>),
    /// `WORKDIR`
    WorkDir(String),
}

/// What is no such instruction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid change {change:?} - {problem}")]
pub struct ChangeError {
    /// As given.
    change: String,
    /// What is wrong with it.
    problem: String,
}

impl FromStr for Change {
    type Err = ChangeError;

    fn from_str(text: &str) -> Result<Self, ChangeError> {
        parse(text).map_err(|problem| ChangeError { change: text.to_owned(), problem })
    }
}

fn parse(text: &str) -> Result<Change, String> {
    let no_value = || "must be formatted as KEY VALUE".to_owned();
    // Podman takes KEY=VALUE, too.
    let (key, value) =
        text.trim().split_once([' ', '\t']).or_else(|| text.split_once('=')).ok_or_else(no_value)?;
    let value = value.trim();
    let key = key.trim().to_ascii_uppercase();
    if value.is_empty() {
        return Err(no_value());
    }
    Ok(match key.as_str() {
        "CMD" => Change::Cmd(command(value)),
        "ENTRYPOINT" => Change::Entrypoint(command(value)),
        "ENV" => Change::Env(pairs(&key, value)?),
        "LABEL" => Change::Label(pairs(&key, value)?),
        "EXPOSE" => Change::Expose(value.split_whitespace().map(port).collect::<Result<_, _>>()?),
        "ONBUILD" => Change::OnBuild(value.to_owned()),
        "STOPSIGNAL" => Change::StopSignal(value.to_owned()),
        "USER" => Change::User(value.to_owned()),
        "VOLUME" => Change::Volume(list(value).unwrap_or_else(|| words(value))),
        "WORKDIR" => Change::WorkDir(value.to_owned()),
        other => return Err(format!("invalid instruction {other}")),
    })
}

/// The exec form, a JSON list; or the shell form.
fn command(value: &str) -> Vec<String> {
    list(value).unwrap_or_else(|| ["/bin/sh", "-c", value].map(str::to_owned).to_vec())
}

fn list(value: &str) -> Option<Vec<String>> {
    serde_json::from_str(value).ok()
}

/// A port or a range, with its protocol.
fn port(text: &str) -> Result<String, String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err("EXPOSE protocol must be TCP, UDP or SCTP".to_owned());
    }
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok(format!("{ports}/{protocol}")),
        _ => Err("EXPOSE port must be a number from 1 to 65535, or a range".to_owned()),
    }
}

/// `a=b "c d"=e`, or `a b c` for one name with all the rest as its value.
fn pairs(key: &str, value: &str) -> Result<Vec<(String, String)>, String> {
    let words = words(value);
    if !words[0].contains('=') {
        let (name, value) = value.split_once([' ', '\t']).ok_or_else(|| format!("{key} needs a value"))?;
        return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    let pair = |word: &String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{key} must be formatted as NAME=VALUE")),
    };
    words.iter().map(pair).collect()
}

/// Words, which quotes and backslashes may hold together; at least one of a text that is not blank.
pub fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (None, '"' | '\'') => {
                word.get_or_insert_default();
                quote = Some(character);
            }
            (None | Some('"'), '\\') => {
                let next = characters.next().unwrap_or('\\');
                word.get_or_insert_default().push(next);
            }
            (None, blank) if blank.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

impl Change {
    /// Changes the `config` object of a configuration.
    pub(crate) fn apply(&self, config: &mut Value) {
        let Some(config) = config.as_object_mut() else { return };
        match self {
            Self::Cmd(words) => set(config, "Cmd", json!(words)),
            Self::Entrypoint(words) => set(config, "Entrypoint", json!(words)),
            Self::StopSignal(signal) => set(config, "StopSignal", json!(signal)),
            Self::User(user) => set(config, "User", json!(user)),
            Self::WorkDir(dir) => set(config, "WorkingDir", json!(dir)),
            Self::Env(pairs) => {
                let all = list_of(config, "Env");
                for (name, value) in pairs {
                    let start = format!("{name}=");
                    all.retain(|known| !known.as_str().is_some_and(|known| known.starts_with(&start)));
                    all.push(json!(start + value));
                }
            }
            Self::OnBuild(instruction) => list_of(config, "OnBuild").push(json!(instruction)),
            Self::Label(pairs) => {
                let labels = set_of(config, "Labels");
                labels.extend(pairs.iter().map(|(name, value)| (name.clone(), json!(value))));
            }
            Self::Expose(ports) => {
                set_of(config, "ExposedPorts").extend(ports.iter().map(|port| (port.clone(), json!({}))));
            }
            Self::Volume(paths) => {
                set_of(config, "Volumes").extend(paths.iter().map(|path| (path.clone(), json!({}))));
            }
        }
    }
}

fn set(config: &mut Map<String, Value>, key: &str, value: Value) {
    config.insert(key.to_owned(), value);
}

fn list_of<'c>(config: &'c mut Map<String, Value>, key: &str) -> &'c mut Vec<Value> {
    let value = config.entry(key).or_insert_with(|| json!([]));
    value.as_array_mut().expect("invariant: only lists are stored under this key")
}

fn set_of<'c>(config: &'c mut Map<String, Value>, key: &str) -> &'c mut Map<String, Value> {
    let value = config.entry(key).or_insert_with(|| json!({}));
    value.as_object_mut().expect("invariant: only objects are stored under this key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_change_the_configuration() {
        let mut config = json!({});
        for text in [
            "CMD sleep 1",
            r#"cmd ["a","b"]"#,
            "ENTRYPOINT=/entry",
            "ENV A=1 B=\"b c\" C='d \\'",
            "ENV A two words",
            "EXPOSE 80 53/UDP 1-3/sctp",
            "LABEL k=v \"l m\"=n",
            "ONBUILD RUN x",
            "ONBUILD RUN y",
            "STOPSIGNAL 9",
            "USER=1:2",
            "VOLUME /a /b",
            r#"VOLUME ["/c d"]"#,
            "WORKDIR /w",
        ] {
            text.parse::<Change>().unwrap_or_else(|e| panic!("{e}")).apply(&mut config);
        }
        let expected = json!({
            "Cmd": ["a", "b"],
            "Entrypoint": ["/bin/sh", "-c", "/entry"],
            "Env": ["B=b c", "C=d \\", "A=two words"],
            "ExposedPorts": { "80/tcp": {}, "53/udp": {}, "1-3/sctp": {} },
            "Labels": { "k": "v", "l m": "n" },
            "OnBuild": ["RUN x", "RUN y"],
            "StopSignal": "9",
            "User": "1:2",
            "Volumes": { "/a": {}, "/b": {}, "/c d": {} },
            "WorkingDir": "/w",
        });
        assert_eq!(config, expected);
    }

    #[test]
    fn what_is_no_instruction_is_said() {
        for (text, problem) in [
            ("CMD", "must be formatted as KEY VALUE"),
            ("CMD ", "must be formatted as KEY VALUE"),
            ("FROM x", "invalid instruction FROM"),
            ("EXPOSE 0", "from 1 to 65535"),
            ("EXPOSE 80/icmp", "protocol must be"),
            ("EXPOSE 9-1", "or a range"),
            ("ENV A", "ENV needs a value"),
            ("LABEL a=b =c", "LABEL must be formatted as NAME=VALUE"),
        ] {
            let text = text.parse::<Change>().unwrap_err().to_string();
            assert!(text.starts_with("invalid change") && text.contains(problem), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text: String) {
            for key in ["ENV", "LABEL", "VOLUME", "EXPOSE", "CMD"] {
                let _ = format!("{key} {text}").parse::<Change>();
            }
        }
    }
}

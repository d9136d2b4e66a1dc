//! The image configuration as an engine needs it.

use std::collections::BTreeMap;

use loment_store::DiffId;
use serde::{Deserialize, Deserializer};

use crate::platform::Platform;

/// What an image says about itself and about containers made from it (image-spec, config.md; Docker's own
/// fields `Healthcheck`, `Shell`, `OnBuild`, `ArgsEscaped`). Unknown fields stay in the stored bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    /// What it runs on.
    pub platform: Platform,
    /// When it was built, RFC 3339 as written.
    pub created: Option<String>,
    /// Who built it.
    pub author: Option<String>,
    /// Its layers, lowest first.
    pub diff_ids: Vec<DiffId>,
    /// How it was built, oldest step first.
    pub history: Vec<History>,
    /// Defaults for containers.
    pub container: ContainerDefaults,
}

/// Defaults for containers made from an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[expect(missing_docs, reason = "names and meaning are the specification's")]
pub struct ContainerDefaults {
    #[serde(deserialize_with = "null")]
    pub user: String,
    #[serde(deserialize_with = "keys")]
    pub exposed_ports: Vec<String>,
    #[serde(deserialize_with = "null")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "command")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(deserialize_with = "command")]
    pub cmd: Option<Vec<String>>,
    #[serde(deserialize_with = "keys")]
    pub volumes: Vec<String>,
    #[serde(deserialize_with = "null")]
    pub working_dir: String,
    #[serde(deserialize_with = "null")]
    pub labels: BTreeMap<String, String>,
    pub stop_signal: Option<String>,
    /// Seconds.
    pub stop_timeout: Option<i64>,
    pub healthcheck: Option<Healthcheck>,
    pub shell: Option<Vec<String>>,
    #[serde(deserialize_with = "null")]
    pub on_build: Vec<String>,
    #[serde(deserialize_with = "null")]
    pub args_escaped: bool,
}

/// Docker's `Healthcheck`; times in nanoseconds, 0 means "not given".
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[expect(missing_docs, reason = "names and meaning are Docker's")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", text]`.
    #[serde(deserialize_with = "null")]
    pub test: Vec<String>,
    pub interval: i64,
    pub timeout: i64,
    pub start_period: i64,
    pub start_interval: i64,
    pub retries: i64,
}

/// One step of how an image was built.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "names and meaning are the specification's")]
pub struct History {
    pub created: Option<String>,
    pub created_by: Option<String>,
    pub author: Option<String>,
    pub comment: Option<String>,
    #[serde(deserialize_with = "null")]
    pub empty_layer: bool,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default, deserialize_with = "null")]
    os: String,
    #[serde(default, deserialize_with = "null")]
    architecture: String,
    variant: Option<String>,
    created: Option<String>,
    author: Option<String>,
    #[serde(default, deserialize_with = "null")]
    config: ContainerDefaults,
    rootfs: Rootfs,
    #[serde(default, deserialize_with = "null")]
    history: Vec<History>,
}

#[derive(Deserialize)]
struct Rootfs {
    #[serde(default, deserialize_with = "null")]
    diff_ids: Vec<DiffId>,
}

impl ImageConfig {
    /// Parses a configuration blob.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let Document { os, architecture, variant, created, author, config, rootfs, history } =
            serde_json::from_slice(bytes)?;
        Ok(Self {
            platform: Platform { os, architecture, variant },
            created,
            author,
            diff_ids: rootfs.diff_ids,
            history,
            container: config,
        })
    }
}

/// Go writes `null` for empty slices and maps.
fn null<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(input: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

/// `{"80/tcp": {}}`: Go's way to write a set.
fn keys<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    let set: BTreeMap<String, serde::de::IgnoredAny> = null(input)?;
    Ok(set.into_keys().collect())
}

/// A list, `null`, or (very old Docker) one string.
fn command<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Command {
        List(Vec<String>),
        Text(String),
    }
    Ok(Option::deserialize(input)?.map(|command| match command {
        Command::List(list) => list,
        Command::Text(text) => vec![text],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_writes_is_read() {
        let config = ImageConfig::parse(
            br#"{"architecture":"arm","variant":"v7","os":"linux","created":"2024-01-02T03:04:05Z","unknown":1,
            "config":{"User":"www","ExposedPorts":{"80/tcp":{},"53/udp":{}},"Env":["A=b"],"Entrypoint":["/e"],
            "Cmd":null,"Volumes":{"/data":{}},"WorkingDir":"/w","Labels":null,"StopSignal":"SIGINT",
            "Healthcheck":{"Test":["CMD","x"],"Interval":5000000000,"Retries":3},"Shell":["/bin/ash","-c"],"OnBuild":null},
            "rootfs":{"type":"layers","diff_ids":["sha256:e6693c20186f837fc393390135d8a598a96a833917917789d63766cab6c59582"]},
            "history":[{"created_by":"RUN x","empty_layer":true}]}"#,
        )
        .unwrap();
        assert_eq!(config.platform.to_string(), "linux/arm/v7");
        assert_eq!(config.container.exposed_ports, ["53/udp", "80/tcp"]);
        assert_eq!(config.container.entrypoint, Some(vec!["/e".to_owned()]));
        assert_eq!((config.container.cmd, config.container.stop_signal.as_deref()), (None, Some("SIGINT")));
        let health = config.container.healthcheck.unwrap();
        assert_eq!((health.test.len(), health.interval, health.retries), (2, 5_000_000_000, 3));
        assert_eq!((config.diff_ids.len(), config.history[0].empty_layer), (1, true));
        assert!(ImageConfig::parse(br#"{"rootfs":{"diff_ids":["sha256:../../x"]}}"#).is_err());
        assert!(ImageConfig::parse(br#"{"config":null,"rootfs":{"diff_ids":null}}"#).is_ok());
        assert!(ImageConfig::parse(b"{}").is_err());
    }
}

//! Where a container's log goes, and where it is read.

use std::collections::BTreeMap;

use loment_logs::{Format, Options, Reader, Rotation, Settings};
use regex::Regex;

use crate::config::{Config, LogDriver, LogUse};
use crate::container::Container;
use crate::error::invalid;
use crate::{Engine, Error};

/// A container's log, to be read.
#[derive(Debug)]
pub enum Log {
    /// Files, which are open.
    Files(Box<Reader>),
    /// The journal, which is read by a program of its own.
    Journal,
}

impl Engine {
    /// Opens a container's log.
    ///
    /// # Errors
    /// [`Error::NoLog`] for one that keeps none; [`Error::Log`].
    pub fn logs(&self, container: &Container, options: Options) -> Result<Log, Error> {
        let driver = container.config.log.driver;
        let format = match driver {
            LogDriver::K8sFile => Format::K8sFile,
            LogDriver::JsonFile => Format::JsonFile,
            LogDriver::Journald => return Ok(Log::Journal),
            LogDriver::Passthrough | LogDriver::PassthroughTty | LogDriver::None => {
                return Err(Error::NoLog { driver: driver.name() });
            }
        };
        let path = container.log_path().unwrap_or_default();
        Ok(Log::Files(Box::new(Reader::open(&path, format, options)?)))
    }

    /// Whether a container runs, looked at anew.
    pub fn is_running(&self, id: &str) -> bool {
        self.load(id).is_ok_and(|c| c.is_some_and(|c| c.status.is_active()))
    }
}

impl Container {
    /// What is said with each of its lines: the labels and variables that were chosen, and its tag.
    pub fn log_attributes(&self) -> BTreeMap<String, String> {
        let config = &self.config;
        let mut attributes = chosen(config);
        if !config.log.tag.is_empty() {
            attributes.insert("tag".into(), expand(&config.log.tag, config).unwrap_or_default());
        }
        attributes
    }

    /// What its monitor is told about its log.
    pub(crate) fn log_settings(&self) -> Result<Settings, Error> {
        let log = &self.config.log;
        Ok(match log.driver {
            LogDriver::None => Settings::Nothing,
            LogDriver::Passthrough | LogDriver::PassthroughTty => Settings::Passthrough,
            LogDriver::Journald => Settings::Journal { fields: fields(&self.config)?, buffer: log.buffer },
            LogDriver::K8sFile | LogDriver::JsonFile => Settings::Files {
                path: self.log_path().unwrap_or_default(),
                format: if log.driver == LogDriver::JsonFile { Format::JsonFile } else { Format::K8sFile },
                rotation: Rotation {
                    max_size: log.max_size,
                    max_age: log.max_age,
                    max_files: log.max_files.max(1),
                    compress: log.compress,
                },
                attributes: self.log_attributes(),
            },
        })
    }
}

/// Finds what is wrong with a log before a container is made.
pub(crate) fn check(config: &Config) -> Result<(), Error> {
    let LogUse { tag, fields, labels_regex, env_regex, .. } = &config.log;
    for template in fields.values().chain([tag]) {
        expand(template, config)?;
    }
    for pattern in [labels_regex, env_regex].into_iter().flatten() {
        Regex::new(pattern).map_err(|e| {
            // The lines before show where.
            let text = e.to_string();
            let hint = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            invalid("regular expression", pattern.clone(), hint)
        })?;
    }
    Ok(())
}

/// Labels and variables that are said with each line.
fn chosen(config: &Config) -> BTreeMap<String, String> {
    let log = &config.log;
    let matcher = |names: &[String], pattern: &Option<String>| {
        let names = names.to_vec();
        // It was compiled before the container was made.
        let pattern = pattern.as_deref().and_then(|p| Regex::new(p).ok());
        move |name: &str| {
            names.iter().any(|n| n == name) || pattern.as_ref().is_some_and(|p| p.is_match(name))
        }
    };
    let (label, variable) = (matcher(&log.labels, &log.labels_regex), matcher(&log.env, &log.env_regex));
    let labels = config.labels.iter().filter(|(name, _)| label(name));
    let labels = labels.map(|(name, value)| (name.clone(), value.clone()));
    let variables =
        config.process.env.iter().filter_map(|e| e.split_once('=')).filter(|(name, _)| variable(name));
    labels.chain(variables.map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
}

/// What is said with each message to the journal.
fn fields(config: &Config) -> Result<BTreeMap<String, String>, Error> {
    let log = &config.log;
    let mut fields: BTreeMap<_, _> =
        chosen(config).into_iter().map(|(name, value)| (field_name(&name), value)).collect();
    // A label without any letter or digit has no name there.
    fields.remove("");
    for (name, template) in &log.fields {
        fields.insert(name.clone(), expand(template, config)?);
    }
    let tag = expand(&log.tag, config)?;
    let identifier = if tag.is_empty() { config.name.clone() } else { tag.clone() };
    let mut set = |name: &str, value: String| fields.insert(name.to_owned(), value);
    set("CONTAINER_ID", short(&config.id).to_owned());
    set("CONTAINER_ID_FULL", config.id.clone());
    set("CONTAINER_NAME", config.name.clone());
    set("SYSLOG_IDENTIFIER", identifier);
    if !tag.is_empty() {
        set("CONTAINER_TAG", tag);
    }
    if let Some(image) = &config.image {
        set("IMAGE_NAME", image.name.clone());
    }
    Ok(fields)
}

/// The name of a field of the journal: capital letters, digits and underscores, of which none is first.
fn field_name(name: &str) -> String {
    let upper = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    upper.skip_while(|c| *c == '_' || c.is_ascii_digit()).take(64).collect()
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Fills in a template of names in double braces.
fn expand(template: &str, config: &Config) -> Result<String, Error> {
    let refuse = |hint: &str| invalid("log template", template, hint);
    let mut out = String::new();
    let mut rest = template;
    while let Some((text, inside)) = rest.split_once("{{") {
        let (name, after) = inside.split_once("}}").ok_or_else(|| refuse("a brace is not closed"))?;
        out.push_str(text);
        let value = value(name.trim(), config);
        out.push_str(&value.ok_or_else(|| {
            refuse("use .ID, .FullID, .Name, .ImageName, .ImageID, .ImageFullID, .Command, .Hostname or .DaemonName")
        })?);
        rest = after;
    }
    Ok(out + rest)
}

fn value(name: &str, config: &Config) -> Option<String> {
    let image = config.image.as_ref();
    let image_id = image.map(|i| i.id.hex()).unwrap_or_default();
    let short_if = |id: &str| if config.log.short_ids { short(id).to_owned() } else { id.to_owned() };
    Some(match name {
        ".ID" | ".Id" => short_if(&config.id),
        ".FullID" => config.id.clone(),
        ".Name" => config.name.clone(),
        ".ImageName" | ".Config.Image" => image.map(|i| i.name.clone()).unwrap_or_default(),
        ".ImageID" | ".Image" => short_if(image_id),
        ".ImageFullID" => format!("sha256:{image_id}"),
        ".Command" => config.args().join(" "),
        ".Hostname" | ".Config.Hostname" => config.net.hostname.clone(),
        ".DaemonName" => "loment".to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let mut config = Config { id: "0123456789abcdef".repeat(4), name: "web".into(), ..Config::default() };
        config.labels =
            [("a.b-c", "1"), ("tier", "front"), ("_", "x")].map(|(k, v)| (k.into(), v.into())).into();
        config.process.env = vec!["A=1".into(), "AB=2=3".into(), "C=4".into()];
        config
    }

    #[test]
    fn templates_are_filled_in_or_refused_by_name() {
        let mut config = config();
        assert_eq!(expand("x {{.Name}}/{{ .ID }}", &config).unwrap(), format!("x web/{}", config.id));
        config.log.short_ids = true;
        assert_eq!(expand("{{.ID}} {{.FullID}}", &config).unwrap(), format!("0123456789ab {}", config.id));
        for wrong in ["{{.Nope}}", "{{.Name", "{{upper .Name}}"] {
            assert!(expand(wrong, &config).is_err(), "{wrong}");
        }
    }

    #[test]
    fn labels_and_variables_are_chosen_by_name_and_pattern() {
        let mut config = config();
        config.log.labels = vec!["tier".into(), "absent".into()];
        config.log.labels_regex = Some("^a".into());
        config.log.env_regex = Some("^A".into());
        let names: Vec<_> = chosen(&config).into_iter().collect();
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert_eq!(names, [pair("A", "1"), pair("AB", "2=3"), pair("a.b-c", "1"), pair("tier", "front")]);
    }

    #[test]
    fn fields_of_the_journal_have_names_it_takes() {
        let mut config = config();
        config.log.labels_regex = Some(String::new());
        config.log.fields = [("EXTRA".to_owned(), "{{.Name}}!".to_owned())].into();
        let fields = fields(&config).unwrap();
        let names: Vec<_> = fields.keys().map(String::as_str).collect();
        let ours =
            ["CONTAINER_ID", "CONTAINER_ID_FULL", "CONTAINER_NAME", "EXTRA", "SYSLOG_IDENTIFIER", "TIER"];
        assert_eq!(names, [&["A_B_C"][..], &ours].concat());
        assert_eq!((fields["EXTRA"].as_str(), fields["SYSLOG_IDENTIFIER"].as_str()), ("web!", "web"));
    }
}

//! Flags: where output is kept.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use loment_engine::Create;
use loment_engine::config::{LogDriver, LogUse};

use crate::arguments::boolean;
use crate::commands::values::{human_size, size};
use crate::containers_conf::{CONTAINERS, ContainersConf};
use crate::error::{Doing, Error};
use crate::globals::Globals;

/// What Docker holds of lines that nobody takes, if it is not said.
const BUFFER: u64 = 1 << 20;

#[derive(Args, Debug)]
#[command(next_help_heading = "Log")]
pub(super) struct LogFlags {
    /// Choose where output is kept: k8s-file, json-file, journald, passthrough, passthrough-tty or none
    #[arg(long, value_name = "DRIVER")]
    log_driver: Option<String>,
    /// Set an option of the log: path, max-size, max-file, max-age, compress, tag, label, labels, env, mode and others
    #[arg(long, value_name = "NAME=VALUE")]
    log_opt: Vec<String>,
}

/// An option: its name, which drivers have it, and what it does.
struct LogOption {
    name: &'static str,
    has: fn(LogDriver) -> bool,
    set: fn(&mut LogUse, &str) -> Result<(), Error>,
}

/// Podman's, Docker's, and those that both lack.
const OPTIONS: &[LogOption] = &[
    LogOption { name: "path", has: LogDriver::has_files, set: path },
    LogOption { name: "max-size", has: LogDriver::has_files, set: max_size },
    LogOption { name: "max-file", has: LogDriver::has_files, set: max_file },
    LogOption { name: "max-age", has: LogDriver::has_files, set: max_age },
    LogOption { name: "compress", has: LogDriver::has_files, set: compress },
    LogOption { name: "tag", has: has_records, set: tag },
    LogOption { name: "label", has: |driver| driver == LogDriver::Journald, set: field },
    LogOption { name: "labels", has: has_records, set: labels },
    LogOption { name: "labels-regex", has: has_records, set: labels_regex },
    LogOption { name: "env", has: has_records, set: env },
    LogOption { name: "env-regex", has: has_records, set: env_regex },
    LogOption { name: "mode", has: has_records, set: mode },
    LogOption { name: "max-buffer-size", has: has_records, set: max_buffer_size },
];

/// Records are made of its output.
fn has_records(driver: LogDriver) -> bool {
    driver.has_files() || driver == LogDriver::Journald
}

impl LogFlags {
    pub(super) fn apply(
        &self,
        globals: &Globals,
        conf: &ContainersConf,
        asked: &mut Create,
    ) -> Result<(), Error> {
        let docker = globals.persona.docker_documents;
        let default = if docker { LogDriver::JsonFile } else { LogDriver::K8sFile };
        let driver = match self.log_driver.as_deref() {
            Some(name) => driver(name)?,
            None => conf.text_as(CONTAINERS, "log_driver", driver)?.unwrap_or(default),
        };
        let mut log = LogUse { driver, max_files: 1, short_ids: docker, ..LogUse::default() };
        if driver == LogDriver::Journald && docker {
            "{{.ID}}".clone_into(&mut log.tag);
        }
        for text in &self.log_opt {
            option(text, &mut log)?;
        }
        self.usual(conf, &mut log, asked)?;
        settle(&mut log)?;
        if driver.is_passthrough() {
            check_passthrough(driver, asked.config.process.terminal)?;
        }
        asked.choices.log = Some(log);
        Ok(())
    }

    /// What containers.conf says, for what no option says and the driver has.
    fn usual(&self, conf: &ContainersConf, log: &mut LogUse, asked: &mut Create) -> Result<(), Error> {
        let directory = conf.text_as(CONTAINERS, "log_path", directory)?;
        let size = conf.number_as(CONTAINERS, "log_size_max", |size| match size {
            8192.. => Ok(Some(size.cast_unsigned())),
            0.. => Err("use at least 8192 bytes, or -1 for no limit"),
            _ => Ok(None),
        })?;
        let tag = conf.text(CONTAINERS, "log_tag")?;
        if log.driver.has_files() {
            asked.choices.log_directory = directory.filter(|_| log.path.is_none());
            log.max_size = log.max_size.or(size.flatten());
        }
        if let Some(tag) = tag.filter(|_| has_records(log.driver) && !log.options.contains_key("tag")) {
            tag.value.clone_into(&mut log.tag);
        }
        Ok(())
    }
}

/// `log_path`
fn directory(path: &str) -> Result<PathBuf, Error> {
    match path.starts_with('/') {
        true => Ok(path.into()),
        false => Err(Error::Invalid("use the absolute path of a directory".into())),
    }
}

fn driver(name: &str) -> Result<LogDriver, Error> {
    LogDriver::ALL.into_iter().find(|d| d.name() == name).ok_or_else(|| {
        let known: Vec<_> = LogDriver::ALL.iter().map(|d| d.name()).collect();
        Error::Invalid(format!("log driver {name:?} is not supported: use {}", known.join(", ")))
    })
}

fn option(text: &str, log: &mut LogUse) -> Result<(), Error> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(Error::Invalid(format!("invalid log option {text:?}: use NAME=VALUE")));
    };
    let driver = log.driver.name();
    let Some(option) = OPTIONS.iter().find(|o| o.name == name) else {
        let known =
            OPTIONS.iter().filter(|o| (o.has)(log.driver)).map(|o| o.name).collect::<Vec<_>>().join(", ");
        let hint = if known.is_empty() { "it has none".to_owned() } else { format!("use {known}") };
        return Err(Error::Invalid(format!(
            "unknown log option {name:?} for the log driver {driver}: {hint}"
        )));
    };
    if !(option.has)(log.driver) {
        let with: Vec<_> =
            LogDriver::ALL.into_iter().filter(|d| (option.has)(*d)).map(LogDriver::name).collect();
        let with = with.join(", ");
        return Err(Error::Invalid(format!(
            "log option {name:?} is not for the log driver {driver}: it is for {with}"
        )));
    }
    (option.set)(log, value)?;
    // Of what may be given more than once, all is shown.
    let shown = log.options.entry(name.to_owned()).or_default();
    if name == "label" && !shown.is_empty() {
        shown.push(',');
        shown.push_str(value);
    } else {
        value.clone_into(shown);
    }
    Ok(())
}

/// What options say together.
fn settle(log: &mut LogUse) -> Result<(), Error> {
    if log.compress && (log.max_files < 2 || (log.max_size.is_none() && log.max_age.is_none())) {
        return Err(Error::Invalid(
            "log option \"compress\" is for older files, and there are none: set max-file to 2 or more, and max-size or max-age".into(),
        ));
    }
    match (log.options.get("mode").map(String::as_str), log.buffer) {
        (Some("non-blocking"), buffer) => log.buffer = Some(buffer.unwrap_or(BUFFER)),
        (_, Some(_)) => {
            return Err(Error::Invalid(
                "log option \"max-buffer-size\" needs mode=non-blocking: set that, too".into(),
            ));
        }
        _ => {}
    }
    Ok(())
}

/// Podman's reasons: a terminal that a container has can be typed into by it (TIOCSTI).
fn check_passthrough(driver: LogDriver, terminal: bool) -> Result<(), Error> {
    let name = driver.name();
    if terminal {
        return Err(Error::Invalid(format!(
            "--tty cannot be used with the log driver {name}: the container gets the streams of this command, and no terminal of its own"
        )));
    }
    let is_terminal =
        std::io::stdin().is_terminal() || std::io::stdout().is_terminal() || std::io::stderr().is_terminal();
    if driver == LogDriver::Passthrough && is_terminal {
        return Err(Error::Invalid(
            "the '--log-driver passthrough' option cannot be used on a TTY.  If you really want it, use '--log-driver passthrough-tty'".into(),
        ));
    }
    Ok(())
}

fn bad(name: &str, value: &str, hint: &str) -> Error {
    Error::Invalid(format!("invalid value {value:?} for --log-opt {name}: {hint}"))
}

fn list(value: &str) -> Vec<String> {
    value.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn path(log: &mut LogUse, value: &str) -> Result<(), Error> {
    if value.is_empty() || value.ends_with('/') {
        return Err(bad("path", value, "use the path of a file"));
    }
    log.path = Some(std::path::absolute(value).doing(|| format!("find {value}"))?);
    Ok(())
}

fn max_size(log: &mut LogUse, value: &str) -> Result<(), Error> {
    let size = human_size("log-opt max-size", value)?;
    log.max_size = Some(
        u64::try_from(size)
            .ok()
            .filter(|n| *n > 0)
            .ok_or_else(|| bad("max-size", value, "use a positive size"))?,
    );
    Ok(())
}

fn max_file(log: &mut LogUse, value: &str) -> Result<(), Error> {
    let most = loment_logs::MAX_FILES;
    log.max_files = value
        .parse()
        .ok()
        .filter(|n| (1..=most).contains(n))
        .ok_or_else(|| bad("max-file", value, &format!("use 1 to {most}")))?;
    Ok(())
}

fn max_age(log: &mut LogUse, value: &str) -> Result<(), Error> {
    let days =
        value.strip_suffix('d').and_then(|n| n.parse::<u64>().ok()).and_then(|n| n.checked_mul(86_400));
    let other = || value.parse::<jiff::SignedDuration>().ok().and_then(|d| u64::try_from(d.as_secs()).ok());
    let age = days.or_else(other).filter(|n| *n > 0);
    log.max_age = Some(age.ok_or_else(|| bad("max-age", value, "use a duration such as 12h or 7d"))?);
    Ok(())
}

fn compress(log: &mut LogUse, value: &str) -> Result<(), Error> {
    log.compress = boolean(value).map_err(|_| bad("compress", value, "use true or false"))?;
    Ok(())
}

fn tag(log: &mut LogUse, value: &str) -> Result<(), Error> {
    value.clone_into(&mut log.tag);
    Ok(())
}

fn labels(log: &mut LogUse, value: &str) -> Result<(), Error> {
    log.labels = list(value);
    Ok(())
}

fn labels_regex(log: &mut LogUse, value: &str) -> Result<(), Error> {
    log.labels_regex = Some(value.to_owned());
    Ok(())
}

fn env(log: &mut LogUse, value: &str) -> Result<(), Error> {
    log.env = list(value);
    Ok(())
}

fn env_regex(log: &mut LogUse, value: &str) -> Result<(), Error> {
    log.env_regex = Some(value.to_owned());
    Ok(())
}

fn field(log: &mut LogUse, value: &str) -> Result<(), Error> {
    let hint = "use NAME=VALUE, with capital letters, digits and underscores in the name";
    let (name, template) = value.split_once('=').ok_or_else(|| bad("label", value, hint))?;
    let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty()
        || name.len() > 64
        || name.starts_with(|c: char| c == '_' || c.is_ascii_digit())
        || !name.chars().all(is_name)
    {
        return Err(bad("label", value, hint));
    }
    log.fields.insert(name.to_owned(), template.to_owned());
    Ok(())
}

fn mode(_: &mut LogUse, value: &str) -> Result<(), Error> {
    match value {
        "blocking" | "non-blocking" => Ok(()),
        _ => Err(bad("mode", value, "use blocking or non-blocking")),
    }
}

fn max_buffer_size(log: &mut LogUse, value: &str) -> Result<(), Error> {
    log.buffer = u64::try_from(size("log-opt max-buffer-size", value)?).ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(driver: LogDriver, options: &[&str]) -> Result<LogUse, String> {
        let mut log = LogUse { driver, max_files: 1, ..LogUse::default() };
        options
            .iter()
            .try_for_each(|o| option(o, &mut log))
            .and_then(|()| settle(&mut log))
            .map_err(|e| e.to_string())?;
        Ok(log)
    }

    #[test]
    fn options_are_those_of_both_peers() {
        let options = [
            "max-size=10m",
            "max-file=3",
            "max-age=7d",
            "compress=true",
            "labels=a,b",
            "env-regex=^A",
            "tag={{.Name}}",
        ];
        let read = log(LogDriver::JsonFile, &options).unwrap();
        assert_eq!((read.max_size, read.max_files, read.max_age), (Some(10_000_000), 3, Some(604_800)));
        assert_eq!(
            (read.compress, read.labels, read.options.len()),
            (true, vec!["a".to_owned(), "b".into()], 7)
        );
        let read =
            log(LogDriver::Journald, &["label=A=x", "label=B={{.Name}}=", "mode=non-blocking"]).unwrap();
        assert_eq!((read.fields["B"].as_str(), read.buffer), ("{{.Name}}=", Some(BUFFER)));
        assert_eq!(read.options["label"], "A=x,B={{.Name}}=");
        assert_eq!(
            log(LogDriver::Journald, &["max-buffer-size=4k", "mode=non-blocking"]).unwrap().buffer,
            Some(4096)
        );
        assert_eq!(log(LogDriver::K8sFile, &["max-age=90m"]).unwrap().max_age, Some(5400));
    }

    #[test]
    fn what_is_wrong_is_refused_by_name() {
        use LogDriver::{Journald, JsonFile, K8sFile, None, Passthrough};
        for (driver, options, said) in [
            (K8sFile, &["nope=1"][..], "unknown log option \"nope\" for the log driver k8s-file"),
            (
                None,
                &["max-size=1k"],
                "log option \"max-size\" is not for the log driver none: it is for k8s-file, json-file",
            ),
            (Passthrough, &["nope=1"], "it has none"),
            (Journald, &["path=/x"], "not for the log driver journald"),
            (K8sFile, &["label=A=b"], "it is for journald"),
            (Journald, &["label=a=b"], "capital letters"),
            (JsonFile, &["max-size"], "use NAME=VALUE"),
            (JsonFile, &["max-size=0"], "positive"),
            (JsonFile, &["max-file=0"], "use 1 to 1000"),
            (JsonFile, &["max-age=soon"], "duration"),
            (JsonFile, &["compress=perhaps"], "true or false"),
            (JsonFile, &["compress=true"], "max-file to 2"),
            (JsonFile, &["mode=fast"], "blocking or non-blocking"),
            (JsonFile, &["max-buffer-size=1m"], "mode=non-blocking"),
        ] {
            let error = log(driver, options).unwrap_err();
            assert!(error.contains(said), "{options:?}: {error}");
        }
    }
}

//! How a container is looked after.

use loment_engine::config::{NotifyMode, Restart};
use loment_engine::{Grace, OnFailure, SystemdMode};

use super::{invalid, size};
use crate::error::Error;
use crate::units;

/// A signal, by its name or number, with a dash before it or without. The words are Podman's.
pub(in crate::commands) fn signal(text: &str) -> Result<i32, Error> {
    let name = text.strip_prefix('-').unwrap_or(text);
    match (loment_runtime::parse_signal(name), name.parse::<i64>()) {
        (Some(number), _) => Ok(number),
        (None, Ok(number)) if number != 0 => invalid("valid signals are 1 through 64".into()),
        _ => invalid(format!("invalid signal: {name}")),
    }
}

/// `--time`: seconds; negative ones are for ever.
pub(in crate::commands) fn grace(seconds: Option<i64>) -> Result<Grace, Error> {
    match seconds {
        None => Ok(Grace::Own),
        Some(seconds) if seconds < 0 => Ok(Grace::Forever),
        Some(seconds) => match u32::try_from(seconds) {
            Ok(seconds) => Ok(Grace::Seconds(seconds)),
            Err(_) => {
                Err(Error::Invalid(format!("invalid value {seconds} for --time: it is more than a century")))
            }
        },
    }
}

/// `--systemd`, in any case.
pub(in crate::commands) fn systemd(text: &str) -> Result<SystemdMode, Error> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(SystemdMode::Auto),
        "false" => Ok(SystemdMode::Never),
        "always" => Ok(SystemdMode::Always),
        _ => Err(Error::Invalid(format!("invalid value {text:?} for --systemd: use true, false or always"))),
    }
}

/// `--shm-size-systemd`, in bytes; 0 says nothing.
pub(in crate::commands) fn systemd_size(text: Option<&str>) -> Result<Option<u64>, Error> {
    let size = text.map(|text| size("shm-size-systemd", text)).transpose()?;
    Ok(size.map(|n| n as u64).filter(|&n| n > 0))
}

/// `--sdnotify`. The words are Podman's.
pub(in crate::commands) fn sdnotify(text: &str) -> Result<NotifyMode, Error> {
    use NotifyMode::{Conmon, Container, Healthy, Ignore};
    let known = [Container, Conmon, Healthy, Ignore].into_iter().find(|mode| mode.name() == text);
    known.ok_or_else(|| {
        Error::Invalid(format!(
            "invalid sdnotify value {text:?}: must be container, conmon, healthy or ignore"
        ))
    })
}

/// `--restart`
pub(in crate::commands) fn restart(text: &str) -> Result<Restart, Error> {
    let (name, most) = text.split_once(':').map_or((text, None), |(name, most)| (name, Some(most)));
    match (name, most) {
        ("no" | "", None) => Ok(Restart::No),
        ("always", None) => Ok(Restart::Always),
        ("unless-stopped", None) => Ok(Restart::UnlessStopped),
        ("on-failure", None) => Ok(Restart::OnFailure(None)),
        ("on-failure", Some(most)) if most.parse::<u32>().is_ok() => {
            Ok(Restart::OnFailure(most.parse().ok().filter(|&most| most > 0)))
        }
        _ => Err(Error::Invalid(format!(
            "invalid value {text:?} for --restart: use no, on-failure[:TIMES], always or unless-stopped"
        ))),
    }
}

/// A check: a JSON list of a program and its arguments, or a text for a shell; `none` is none.
pub(in crate::commands) fn check(text: &str) -> Result<Vec<String>, Error> {
    if text.is_empty() {
        return Err(Error::Invalid("a health check must have a command: give one, or none".into()));
    }
    if text == "none" {
        return Ok(vec!["NONE".into()]);
    }
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(words) if words.is_empty() => {
            Err(Error::Invalid("a health check must have a command: give one, or none".into()))
        }
        Ok(words) if ["CMD", "CMD-SHELL", "NONE"].contains(&words[0].as_str()) => Ok(words),
        Ok(words) => Ok([vec!["CMD".to_owned()], words].concat()),
        Err(_) => Ok(vec!["CMD-SHELL".into(), text.into()]),
    }
}

/// A time such as `1m30s`, in nanoseconds; a number alone is seconds.
pub(in crate::commands) fn nanoseconds(flag: &str, text: &str) -> Result<u64, Error> {
    let time = units::delay(text).ok().and_then(|time| u64::try_from(time.as_nanos()).ok());
    time.ok_or_else(|| {
        Error::Invalid(format!("invalid value {text:?} for --{flag}: use a time such as 1m30s"))
    })
}

/// `--health-on-failure`
pub(in crate::commands) fn on_failure(text: &str) -> Result<OnFailure, Error> {
    match text {
        "none" | "" => Ok(OnFailure::None),
        "kill" => Ok(OnFailure::Kill),
        "restart" => Ok(OnFailure::Restart),
        "stop" => Ok(OnFailure::Stop),
        _ => Err(Error::Invalid(format!(
            "invalid value {text:?} for --health-on-failure: use none, kill, restart or stop"
        ))),
    }
}

/// `--runtime`: names that mean this program.
pub(in crate::commands) fn runtime(name: &str) -> Result<(), Error> {
    // The last is what Docker calls its own.
    match name {
        "loment" | "oci" | "crun" | "runc" | "default" | "io.containerd.runc.v2" => Ok(()),
        other => invalid(format!(
            "--runtime {other} is refused: loment runs containers itself and executes no other runtime; leave it out, or use loment, oci, crun, runc or default"
        )),
    }
}

/// `--isolation`
pub(in crate::commands) fn isolation(way: &str) -> Result<(), Error> {
    match way {
        "" | "default" | "process" => Ok(()),
        "hyperv" => invalid("--isolation hyperv is for Windows hosts: use default or process".into()),
        "vm" => invalid(
            "--isolation vm needs machines for containers, which are not there yet: use default or process"
                .into(),
        ),
        other => invalid(format!("invalid value {other:?} for --isolation: use default or process")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_names_and_numbers_with_a_dash_or_without() {
        for (text, number) in [("TERM", 15), ("-INT", 2), ("-SIGUSR1", 10), ("-1", 1), ("64", 64)] {
            assert_eq!(signal(text).unwrap(), number, "{text}");
        }
        for (text, words) in [
            ("0", "invalid signal: 0"),
            ("-SIGNONE", "invalid signal: SIGNONE"),
            ("-", "invalid signal: "),
            ("65", "valid signals are 1 through 64"),
            ("-99999999", "valid signals are 1 through 64"),
        ] {
            assert_eq!(signal(text).unwrap_err().to_string(), words, "{text}");
        }
    }

    #[test]
    fn policies_are_read_or_refused_by_name() {
        assert_eq!(restart("on-failure:3").unwrap(), Restart::OnFailure(Some(3)));
        assert_eq!(restart("on-failure:0").unwrap(), Restart::OnFailure(None));
        assert_eq!(restart("").unwrap(), Restart::No);
        for bad in ["sometimes", "always:3", "on-failure:", "on-failure:-1", "no:1"] {
            assert!(restart(bad).is_err(), "{bad}");
        }
        assert_eq!(grace(Some(-1)).unwrap(), Grace::Forever);
        assert!(grace(Some(1 << 40)).is_err());
    }

    #[test]
    fn checks_are_texts_lists_or_none() {
        assert_eq!(check("curl x || exit 1").unwrap(), ["CMD-SHELL", "curl x || exit 1"]);
        assert_eq!(check(r#"["curl","x"]"#).unwrap(), ["CMD", "curl", "x"]);
        assert_eq!(check(r#"["CMD-SHELL","x"]"#).unwrap(), ["CMD-SHELL", "x"]);
        assert_eq!(check("none").unwrap(), ["NONE"]);
        assert!(check("").is_err() && check("[]").is_err());
        assert_eq!(nanoseconds("x", "1m30s").unwrap(), 90_000_000_000);
        assert_eq!(nanoseconds("x", "500ms").unwrap(), 500_000_000);
        assert_eq!(nanoseconds("x", "2").unwrap(), 2_000_000_000);
        assert!(nanoseconds("x", "-1s").is_err() && nanoseconds("x", "soon").is_err());
    }
}

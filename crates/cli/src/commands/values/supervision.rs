//! How a container is looked after.

use loment_engine::Grace;
use loment_engine::config::Restart;

use crate::error::Error;

/// A signal, by its name or number.
pub(in crate::commands) fn signal(flag: &str, text: &str) -> Result<i32, Error> {
    loment_runtime::parse_signal(text)
        .ok_or_else(|| Error::Invalid(format!("invalid value {text:?} for --{flag}: no such signal")))
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

#[cfg(test)]
mod tests {
    use super::*;

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
}

//! `--secret`: which secrets a container knows, and how.

use loment_engine::config::SecretPlace;

use super::invalid;
use crate::error::Error;

/// `NAME[,type=mount|env][,target=TARGET][,uid=UID][,gid=GID][,mode=MODE]`; a target that is not said is empty.
pub(in crate::commands) fn parse(text: &str) -> Result<(String, SecretPlace), Error> {
    fn wrong<T>(text: &str, why: &str) -> Result<T, Error> {
        invalid(format!("invalid value {text:?} for --secret: {why}"))
    }
    let mut words = text.split(',').peekable();
    let mut name = words.next_if(|word| !word.contains('=')).unwrap_or_default().to_owned();
    let (mut kind, mut target) = (None, String::new());
    let (mut uid, mut gid, mut mode) = (None, None, None);
    for word in words {
        let Some((key, value)) = word.split_once('=') else {
            return wrong(text, &format!("option {word} must be in form KEY=VALUE"));
        };
        let number = || match value.parse::<u32>() {
            Ok(number) => Ok(Some(number)),
            Err(_) => wrong(text, &format!("{key} is a number")),
        };
        match key {
            "source" => value.clone_into(&mut name),
            "type" if kind.is_some() => return wrong(text, "it has more than one type"),
            "type" if value == "mount" || value == "env" => kind = Some(value),
            "type" => return wrong(text, &format!("type {value} is mount or env")),
            "target" => value.clone_into(&mut target),
            "uid" | "UID" => uid = number()?,
            "gid" | "GID" => gid = number()?,
            "mode" => match u32::from_str_radix(value, 8) {
                Ok(bits) if bits <= 0o7777 => mode = Some(bits),
                _ => return wrong(text, "mode is an octal number such as 0400"),
            },
            _ => return wrong(text, &format!("unknown key {key}: use type, target, uid, gid or mode")),
        }
    }
    if name.is_empty() {
        return wrong(text, "it needs the name of a secret");
    }
    if kind == Some("env") {
        if uid.or(gid).or(mode).is_some() {
            return wrong(text, "uid, gid and mode are for type=mount only");
        }
        return Ok((name, SecretPlace::Env { variable: target }));
    }
    let (uid, gid, mode) = (uid.unwrap_or(0), gid.unwrap_or(0), mode.unwrap_or(0o444));
    Ok((name, SecretPlace::Mount { target: target.into(), uid, gid, mode }))
}

/// With the name of the secret where no target is said.
pub(in crate::commands) fn complete(place: SecretPlace, name: &str) -> SecretPlace {
    match place {
        SecretPlace::Mount { target, uid, gid, mode } if target.as_os_str().is_empty() => {
            SecretPlace::Mount { target: name.into(), uid, gid, mode }
        }
        SecretPlace::Env { variable } if variable.is_empty() => {
            SecretPlace::Env { variable: name.to_owned() }
        }
        place => place,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_or_refused_by_name() {
        let mount =
            |target: &str, uid, gid, mode| SecretPlace::Mount { target: target.into(), uid, gid, mode };
        let env = |variable: &str| SecretPlace::Env { variable: variable.into() };
        for (text, name, place) in [
            ("a", "a", mount("", 0, 0, 0o444)),
            ("a,target=b,uid=1,gid=2,mode=0400", "a", mount("b", 1, 2, 0o400)),
            ("source=a,type=mount,target=/b,UID=1", "a", mount("/b", 1, 0, 0o444)),
            ("a,type=env", "a", env("")),
            ("a,type=env,target=B", "a", env("B")),
        ] {
            assert_eq!(parse(text).unwrap(), (name.to_owned(), place), "{text}");
        }
        for bad in [
            "",
            "type=env",
            "a,b",
            "a,type=x",
            "a,type=env,type=env",
            "a,uid=x",
            "a,mode=9",
            "a,mode=77777",
            "a,gid=-1",
            "a,type=env,uid=1",
            "a,colour=red",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(complete(env(""), "a"), env("a"));
        assert_eq!(complete(mount("", 1, 1, 1), "a"), mount("a", 1, 1, 1));
    }
}

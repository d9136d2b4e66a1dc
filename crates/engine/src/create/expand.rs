//! Variables in a word, as a shell has them (POSIX, "Parameter Expansion" and "Quoting"), as far as `--env-merge` and Dockerfiles do.

use std::iter::Peekable;
use std::str::Chars;

/// Words in words in words: more is nobody's intention.
const MAX_DEPTH: u32 = 16;

/// Replaces `$NAME`, `${NAME}`, `${NAME:-WORD}` (when it has no value) and `${NAME:+WORD}` (when it has one), and removes quotes. What is
/// quoted with `'` or `\` is left as it is; a variable without a value is empty.
///
/// # Errors
/// What is wrong with it.
pub(super) fn expand(text: &str, value: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    word(&mut text.chars().peekable(), value, None, 0)
}

/// Up to `end`, which is taken, or to the end of the text.
fn word(
    text: &mut Peekable<Chars<'_>>,
    value: &dyn Fn(&str) -> Option<String>,
    end: Option<char>,
    depth: u32,
) -> Result<String, String> {
    if depth > MAX_DEPTH {
        return Err("it has too many braces in braces".into());
    }
    let mut out = String::new();
    let mut in_quotes = false;
    while let Some(c) = text.next() {
        match c {
            c if Some(c) == end && !in_quotes => return Ok(out),
            '"' => in_quotes = !in_quotes,
            '\'' if !in_quotes => loop {
                match text.next() {
                    Some('\'') => break,
                    Some(c) => out.push(c),
                    None => return Err("a ' is missing at its end".into()),
                }
            },
            '\\' => match text.next() {
                Some(c) if in_quotes && !matches!(c, '"' | '$' | '\\' | '`') => out.extend(['\\', c]),
                Some(c) => out.push(c),
                None => out.push('\\'),
            },
            '$' => out += &variable(text, value, depth)?,
            c => out.push(c),
        }
    }
    match (in_quotes, end) {
        (true, _) => Err("a \" is missing at its end".into()),
        (_, Some(end)) => Err(format!("a {end} is missing at its end")),
        _ => Ok(out),
    }
}

/// What stands behind a `$`.
fn variable(
    text: &mut Peekable<Chars<'_>>,
    value: &dyn Fn(&str) -> Option<String>,
    depth: u32,
) -> Result<String, String> {
    if text.next_if_eq(&'{').is_none() {
        let name = name(text);
        return Ok(if name.is_empty() { "$".into() } else { value(&name).unwrap_or_default() });
    }
    let name = name(text);
    if name.is_empty() {
        return Err("a name is missing after ${".into());
    }
    let value_now = value(&name).filter(|value| !value.is_empty());
    match (text.next(), text.peek()) {
        (Some('}'), _) => Ok(value_now.unwrap_or_default()),
        (Some(':'), Some('-')) => {
            text.next();
            let other = word(text, value, Some('}'), depth + 1)?;
            Ok(value_now.unwrap_or(other))
        }
        (Some(':'), Some('+')) => {
            text.next();
            let other = word(text, value, Some('}'), depth + 1)?;
            Ok(value_now.map(|_| other).unwrap_or_default())
        }
        _ => Err(format!("use ${{{name}}}, ${{{name}:-WORD}} or ${{{name}:+WORD}}")),
    }
}

fn name(text: &mut Peekable<Chars<'_>>) -> String {
    let mut name = String::new();
    let is_part =
        |first: bool| move |c: &char| c.is_ascii_alphabetic() || *c == '_' || !first && c.is_ascii_digit();
    while let Some(c) = text.next_if(is_part(name.is_empty())) {
        name.push(c);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<String, String> {
        expand(text, &|name| match name {
            "A" => Some("a".into()),
            "E" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn variables_are_replaced() {
        for (text, wanted) in [
            ("x=$A", "x=a"),
            ("${A}b$Ab$A-", "aba-"),
            ("${N}|${E}|$", "||$"),
            ("${N:-x y}${E:-z}${A:-no}", "x yza"),
            ("${A:+yes}${N:+no}", "yes"),
            ("${N:-${A:+${A}!}}", "a!"),
            (r#"'$A' "$A b" \$A \\"#, r"$A a b $A \"),
            (r#""\$A \n""#, r"$A \n"),
            ("$1 ü", "$1 ü"),
        ] {
            assert_eq!(of(text).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_has_no_end_or_no_meaning_is_refused() {
        for text in ["${A", "${}", "${A:?x}", "${A:-x", "'a", "\"a", "${A%b}"] {
            assert!(of(text).is_err(), "{text}");
        }
        assert!(of(&"${N:-".repeat(100_000)).is_err());
    }
}

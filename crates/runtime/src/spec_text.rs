//! Reading a specification as the specification wants it read: what is unknown is no error where it says so.

use std::collections::BTreeSet;

use oci_spec::runtime::{Process, Spec};
use serde::de::DeserializeOwned;
use serde_json::{Error, Value};

use crate::CapabilitySet;

/// Parses a specification; the texts are warnings. Capabilities that nobody knows are left out (config.md, "Linux Process",
/// capabilities).
///
/// # Errors
/// What is no JSON, or has a value of the wrong kind.
pub fn parse_spec(text: &[u8]) -> Result<(Spec, Vec<String>), Error> {
    parse(text, |document| correct(&mut document["process"]))
}

/// Parses a `process` alone, in the same way.
///
/// # Errors
/// As [`parse_spec`].
pub fn parse_process(text: &[u8]) -> Result<(Process, Vec<String>), Error> {
    parse(text, correct)
}

/// Parses a document, after corrections if it has to be: what they leave out is in the warnings.
fn parse<T: DeserializeOwned>(
    text: &[u8],
    correct: impl FnOnce(&mut Value) -> Vec<String>,
) -> Result<(T, Vec<String>), Error> {
    // A list would do for the types.
    if text.trim_ascii_start().first().is_some_and(|&b| b != b'{') {
        return Err(serde::de::Error::custom("it is not a JSON object"));
    }
    let error = match serde_json::from_slice(text) {
        Ok(parsed) => return Ok((parsed, Vec::new())),
        Err(error) => error,
    };
    let Ok(mut document) = serde_json::from_slice::<Value>(text) else { return Err(error) };
    let warnings = correct(&mut document);
    // The error of the text names a place in it.
    serde_json::from_value(document).map(|parsed| (parsed, warnings)).map_err(|_| error)
}

/// The types know neither other capabilities nor the right name of one flag; they are looked for only where there is an error.
fn correct(process: &mut Value) -> Vec<String> {
    let mut unknown = BTreeSet::new();
    // What is no object has neither.
    let Some(process) = process.as_object_mut() else { return Vec::new() };
    let sets = process.get_mut("capabilities").and_then(Value::as_object_mut);
    for names in sets.into_iter().flatten().filter_map(|(_, names)| names.as_array_mut()) {
        names.retain(|name| match name.as_str() {
            Some(name) if CapabilitySet::parse(name).is_none() => {
                unknown.insert(name.escape_debug().to_string());
                false
            }
            _ => true,
        });
    }
    let flags = process.get_mut("scheduler").and_then(|s| s.get_mut("flags")).and_then(Value::as_array_mut);
    for flag in flags.into_iter().flatten() {
        if flag == "SCHED_FLAG_DL_OVERRUN" {
            *flag = "SCHED_FLAG_D_L_OVERRUN".into();
        }
    }
    let names: Vec<_> = unknown.into_iter().collect();
    // runc's words.
    let warning = || format!("ignoring unknown or unavailable capabilities: [{}]", names.join(" "));
    (!names.is_empty()).then(warning).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_capabilities_are_left_out_and_named() {
        let text = br#"{"ociVersion":"1.0.0","process":{"cwd":"/","user":{"uid":0,"gid":0},
            "scheduler":{"policy":"SCHED_DEADLINE","flags":["SCHED_FLAG_DL_OVERRUN"]},
            "capabilities":{"bounding":["CAP_CHOWN","CAP_NOVEL"],"effective":["CAP_NOVEL","OTHER"]}}}"#;
        let (spec, warnings) = parse_spec(text).unwrap();
        assert_eq!(warnings, ["ignoring unknown or unavailable capabilities: [CAP_NOVEL OTHER]"]);
        let process = spec.process().as_ref().unwrap();
        let bounding = process.capabilities().as_ref().unwrap().bounding().as_ref().unwrap();
        assert_eq!(CapabilitySet::of(bounding).0, 1);
        assert!(process.scheduler().as_ref().unwrap().flags().is_some());
    }

    #[test]
    fn a_process_alone_is_read_in_the_same_way() {
        let text =
            br#"{"cwd":"/","user":{"uid":0,"gid":0},"capabilities":{"effective":["CAP_NOVEL","CAP_KILL"]},
            "scheduler":{"policy":"SCHED_DEADLINE","flags":["SCHED_FLAG_DL_OVERRUN"]}}"#;
        let (process, warnings) = parse_process(text).unwrap();
        assert_eq!(warnings, ["ignoring unknown or unavailable capabilities: [CAP_NOVEL]"]);
        assert!(process.scheduler().as_ref().unwrap().flags().is_some());
        for bad in [&br#"{"cwd":7}"#[..], br#"{"capabilities":7}"#, br#"{"scheduler":[]}"#, b"[]", b"7", b"{"]
        {
            assert!(parse_process(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn wrong_values_are_errors_that_name_a_place() {
        let error = parse_spec(br#"{"ociVersion":"1.0.0","process":{"cwd":7}}"#).unwrap_err();
        assert_eq!(error.line(), 1);
        assert!(parse_spec(b"{").is_err() && parse_spec(b"[]").is_err());
    }
}

//! Reading a specification as the specification wants it read: what is unknown is no error where it says so.

use oci_spec::runtime::Spec;
use serde_json::{Error, Value};

use crate::CapabilitySet;

/// Parses a specification; the texts are warnings. Capabilities that nobody knows are left out (config.md, "Linux Process",
/// capabilities).
///
/// # Errors
/// What is no JSON, or has a value of the wrong kind.
pub fn parse_spec(text: &[u8]) -> Result<(Spec, Vec<String>), Error> {
    // A list would do for the types.
    if text.trim_ascii_start().first().is_some_and(|&b| b != b'{') {
        return Err(serde::de::Error::custom("it is not a JSON object"));
    }
    let error = match serde_json::from_slice(text) {
        Ok(spec) => return Ok((spec, Vec::new())),
        Err(error) => error,
    };
    // The types know neither other capabilities nor the right name of one flag; it is looked for only where there is an error.
    let Ok(mut document) = serde_json::from_slice::<Value>(text) else { return Err(error) };
    let mut warnings = Vec::new();
    let process = &mut document["process"];
    if let Some(sets) = process["capabilities"].as_object_mut() {
        for (set, names) in sets {
            let Some(names) = names.as_array_mut() else { continue };
            names.retain(|name| {
                let known = name.as_str().is_none_or(|n| CapabilitySet::parse(n).is_some());
                if !known {
                    warnings
                        .push(format!("ignoring unknown capability {name} in process.capabilities.{set}"));
                }
                known
            });
        }
    }
    for flag in process["scheduler"]["flags"].as_array_mut().into_iter().flatten() {
        if flag == "SCHED_FLAG_DL_OVERRUN" {
            *flag = "SCHED_FLAG_D_L_OVERRUN".into();
        }
    }
    // The error of the text names a place in it.
    serde_json::from_value(document).map(|spec| (spec, warnings)).map_err(|_| error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_capabilities_are_left_out_and_named() {
        let text = br#"{"ociVersion":"1.0.0","process":{"cwd":"/","user":{"uid":0,"gid":0},
            "scheduler":{"policy":"SCHED_DEADLINE","flags":["SCHED_FLAG_DL_OVERRUN"]},
            "capabilities":{"bounding":["CAP_CHOWN","CAP_NOVEL"]}}}"#;
        let (spec, warnings) = parse_spec(text).unwrap();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("CAP_NOVEL") && warnings[0].contains("bounding"), "{warnings:?}");
        let process = spec.process().as_ref().unwrap();
        let bounding = process.capabilities().as_ref().unwrap().bounding().as_ref().unwrap();
        assert_eq!(CapabilitySet::of(bounding).0, 1);
        assert!(process.scheduler().as_ref().unwrap().flags().is_some());
    }

    #[test]
    fn wrong_values_are_errors_that_name_a_place() {
        let error = parse_spec(br#"{"ociVersion":"1.0.0","process":{"cwd":7}}"#).unwrap_err();
        assert_eq!(error.line(), 1);
        assert!(parse_spec(b"{").is_err() && parse_spec(b"[]").is_err());
    }
}

//! The part of JSON schema that the runtime specification uses, to hold our documents against it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Where the specification's `schema` directory is, if the developer has one.
pub(super) fn directory() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/runtime-spec-schema");
    let dir = std::env::var_os("LOMENT_RUNTIME_SPEC_SCHEMA").map_or_else(|| beside.into(), PathBuf::from);
    dir.join("state-schema.json").exists().then_some(dir)
}

/// What is wrong with `value`, by the schema in that file.
pub(super) fn problems(dir: &Path, file: &str, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(dir, file, &load(dir, file), value, "$", &mut found);
    found
}

fn load(dir: &Path, file: &str) -> Value {
    serde_json::from_slice(&fs::read(dir.join(file)).unwrap()).unwrap()
}

fn check(dir: &Path, file: &str, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(target) = schema["$ref"].as_str() {
        let (other, pointer) = target.split_once('#').unwrap_or((target, ""));
        let other = if other.is_empty() { file } else { other };
        let whole = load(dir, other);
        let part = whole.pointer(pointer).unwrap_or_else(|| panic!("{target} leads nowhere"));
        return check(dir, other, part, value, at, found);
    }
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        _ => true,
    };
    if !fits {
        found.push(format!("{at}: {value} is no {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|allowed| !allowed.contains(value)) {
        found.push(format!("{at}: {value} is none of {}", schema["enum"]));
    }
    if schema["minimum"].as_i64().is_some_and(|m| value.as_i64().is_some_and(|v| v < m)) {
        found.push(format!("{at}: {value} is below {}", schema["minimum"]));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            found.push(format!("{at}: {name} is missing"));
        }
    }
    for (name, part) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(v) = value.get(name) {
            check(dir, file, part, v, &format!("{at}.{name}"), found);
        }
    }
    for (i, v) in value.as_array().into_iter().flatten().enumerate() {
        check(dir, file, &schema["items"], v, &format!("{at}[{i}]"), found);
    }
}

//! Documents without what is as it is by default: they are short, and a reader that is older than a part knows them as long as that
//! part is not used.

use serde::Serialize;
use serde_json::Value;

/// A document with what differs from the default.
///
/// # Errors
/// For a type that is no JSON.
pub fn sparse<T: Serialize + Default>(document: &T) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(document)?;
    prune(&mut value, &serde_json::to_value(T::default())?);
    Ok(value)
}

/// Leaves out of an object what it has in common with another.
fn prune(value: &mut Value, default: &Value) {
    let (Value::Object(value), Value::Object(default)) = (value, default) else { return };
    value.retain(|name, member| match default.get(name) {
        Some(same) if same == member => false,
        Some(other) => {
            prune(member, other);
            true
        }
        None => true,
    });
}

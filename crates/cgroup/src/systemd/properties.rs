//! What systemd is told of a scope. A limit that it does not know it takes away when it arranges its groups anew, so those
//! it has a property for are given to it, too (systemd.resource-control(5)).

use std::collections::BTreeMap;

use oci_spec::runtime::LinuxResources;

use super::wire::Value;
use crate::{Error, Version, convert, io};

/// Annotations with this prefix are properties.
const ANNOTATION: &str = "org.systemd.property.";

/// A property of a unit: a name, a value, and its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    pub(super) name: String,
    pub(super) value: Value,
}

impl Property {
    pub(super) fn new(name: &str, value: Value) -> Self {
        Self { name: name.to_owned(), value }
    }

    pub(super) fn encoded(&self) -> Value {
        Value::Struct(vec![Value::text(&self.name), self.value.clone().variant()])
    }

    /// The properties that a configuration's annotations name: `org.systemd.property.TimeoutStopUSec: "uint64 5000000"`. A
    /// value is a truth value, a number with or without its type, a text in quotation marks, or a list of such texts. Of a
    /// name that ends with `Sec`, the number counts seconds.
    ///
    /// # Errors
    /// [`Error::Property`].
    pub fn from_annotations(annotations: &BTreeMap<String, String>) -> Result<Vec<Self>, Error> {
        let named = annotations.iter().filter_map(|(key, text)| Some((key.strip_prefix(ANNOTATION)?, text)));
        named
            .map(|(name, text)| {
                let fail = || Error::Property { name: name.to_owned(), value: text.clone() };
                if name.len() < 3 || !name.bytes().all(|b| b.is_ascii_alphabetic()) {
                    return Err(fail());
                }
                let value = parse(text).ok_or_else(fail)?;
                match name.strip_suffix("Sec").filter(|stem| !stem.ends_with('U')) {
                    Some(stem) => {
                        let micros = seconds(&value).ok_or_else(fail)?;
                        Ok(Self::new(&format!("{stem}USec"), Value::U64(micros)))
                    }
                    None => Ok(Self::new(name, value)),
                }
            })
            .collect()
    }
}

fn seconds(value: &Value) -> Option<u64> {
    match value {
        Value::I32(n) => u64::try_from(*n).ok(),
        Value::U32(n) => Some((*n).into()),
        Value::I64(n) => u64::try_from(*n).ok(),
        Value::U64(n) => Some(*n),
        _ => None,
    }?
    .checked_mul(1_000_000)
}

/// A value in GVariant's text format, of the types that properties have.
fn parse(text: &str) -> Option<Value> {
    let text = text.trim();
    if let Some((kind, number)) = text.split_once(' ') {
        let number = number.trim();
        let typed = match kind {
            "int32" => number.parse().ok().map(Value::I32),
            "uint32" => number.parse().ok().map(Value::U32),
            "int64" => number.parse().ok().map(Value::I64),
            "uint64" => number.parse().ok().map(Value::U64),
            "byte" => number.parse().ok().map(Value::Byte),
            _ => None,
        };
        if typed.is_some() {
            return typed;
        }
    }
    match text {
        "true" => return Some(Value::Bool(true)),
        "false" => return Some(Value::Bool(false)),
        _ => {}
    }
    if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        let items = inner.split(',').filter(|item| !item.trim().is_empty());
        let items = items.map(|item| quoted(item.trim()).map(Value::Str)).collect::<Option<_>>()?;
        return Some(Value::Array("s".into(), items));
    }
    quoted(text).map(Value::Str).or_else(|| text.parse().ok().map(Value::I32))
}

fn quoted(text: &str) -> Option<String> {
    ['\'', '"'].iter().find_map(|&mark| {
        let inner = text.strip_prefix(mark)?.strip_suffix(mark)?;
        (!inner.contains([mark, '\\', '\0'])).then(|| inner.to_owned())
    })
}

/// The limits for which systemd has properties.
pub(super) fn limits(resources: &LinuxResources, version: Version) -> Result<Vec<Property>, Error> {
    let mut out = Vec::new();
    let v2 = version == Version::V2;
    let mut set = |name: &str, value: Option<u64>| {
        out.extend(value.map(|v| Property::new(name, Value::U64(v))));
    };
    if let Some(memory) = resources.memory() {
        let limit = convert::given(memory.limit());
        set(if v2 { "MemoryMax" } else { "MemoryLimit" }, limit.map(or_infinity));
        if v2 {
            set("MemoryLow", convert::given(memory.reservation()).map(or_infinity));
            let swap = convert::given(memory.swap())
                .map(|s| convert::swap_only(s, limit.filter(|&l| l > 0)))
                .transpose()?;
            // `max` is no number.
            set("MemorySwapMax", swap.map(|s| s.parse().unwrap_or(u64::MAX)));
        }
    }
    if let Some(cpu) = resources.cpu() {
        let shares = convert::given(cpu.shares());
        match v2 {
            true => set("CPUWeight", shares.map(convert::weight_from_shares)),
            false => set("CPUShares", shares),
        }
        let (quota, period) = (convert::given(cpu.quota()), convert::given(cpu.period()));
        if quota.is_some() || period.is_some() {
            set("CPUQuotaPeriodUSec", period);
            let quota = quota.and_then(|q| u64::try_from(q).ok());
            set(
                "CPUQuotaPerSecUSec",
                Some(quota.map_or(u64::MAX, |q| per_second(q, period.unwrap_or(100_000)))),
            );
        }
    }
    if let Some(pids) = resources.pids() {
        set("TasksMax", Some(convert::pids(pids.limit()).parse().unwrap_or(u64::MAX)));
    }
    if let Some(weight) = resources.block_io().as_ref().and_then(|io| io.weight()).filter(|&w| w != 0) {
        match v2 {
            true => set("IOWeight", Some(io::weight_v2(weight))),
            false => set("BlockIOWeight", Some(weight.into())),
        }
    }
    if let Some(cpu) = resources.cpu() {
        for (name, list) in [("AllowedCPUs", cpu.cpus()), ("AllowedMemoryNodes", cpu.mems())] {
            if let Some(list) = list.as_deref().filter(|l| !l.is_empty()) {
                let set = bits(list).ok_or_else(|| Error::Value { name: "a CPU set", value: list.into() })?;
                out.push(Property::new(name, Value::bytes(&set)));
            }
        }
    }
    for (file, value) in resources.unified().iter().flatten() {
        for property in of_file(file, value)? {
            out.retain(|p| p.name != property.name);
            out.push(property);
        }
    }
    Ok(out)
}

/// What systemd calls what is written to a file of a v2 group; nothing where it has no name for that.
fn of_file(file: &str, value: &str) -> Result<Vec<Property>, Error> {
    let fail = || Error::Value { name: "a file of the group (unified)", value: format!("{file} = {value}") };
    let number = |text: &str| match text.trim() {
        "max" => Ok(u64::MAX),
        text => text.parse().map_err(|_| fail()),
    };
    let name = match file {
        "memory.min" => "MemoryMin",
        "memory.low" => "MemoryLow",
        "memory.high" => "MemoryHigh",
        "memory.max" => "MemoryMax",
        "memory.swap.max" => "MemorySwapMax",
        "pids.max" => "TasksMax",
        "cpu.weight" => "CPUWeight",
        "cpuset.cpus" | "cpuset.mems" => {
            let name = if file == "cpuset.cpus" { "AllowedCPUs" } else { "AllowedMemoryNodes" };
            return Ok(vec![Property::new(name, Value::bytes(&bits(value).ok_or_else(fail)?))]);
        }
        "cpu.max" => {
            let (quota, period) = value.trim().split_once(' ').unwrap_or((value, "100000"));
            let (quota, period) = (number(quota)?, period.trim().parse::<u64>().map_err(|_| fail())?);
            let quota = if quota == u64::MAX { quota } else { per_second(quota, period.max(1)) };
            let property = |name, value| Property::new(name, Value::U64(value));
            return Ok(vec![property("CPUQuotaPeriodUSec", period), property("CPUQuotaPerSecUSec", quota)]);
        }
        _ => return Ok(Vec::new()),
    };
    Ok(vec![Property::new(name, Value::U64(number(value)?))])
}

fn or_infinity(limit: i64) -> u64 {
    u64::try_from(limit).unwrap_or(u64::MAX)
}

/// systemd counts whole hundredths of a CPU; the exact quota is in the file.
fn per_second(quota: u64, period: u64) -> u64 {
    (u128::from(quota) * 1_000_000 / u128::from(period))
        .next_multiple_of(10_000)
        .try_into()
        .unwrap_or(u64::MAX)
}

/// A list such as `0-3,7` as a set of bits, the lowest in the first byte.
fn bits(list: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for part in list.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        // The kernel's largest CONFIG_NR_CPUS.
        if first > last || last >= 8192 {
            return None;
        }
        for bit in first..=last {
            if out.len() <= bit / 8 {
                out.resize(bit / 8 + 1, 0);
            }
            out[bit / 8] |= 1 << (bit % 8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(json: serde_json::Value, version: Version) -> Vec<(String, Value)> {
        let resources = serde_json::from_value(json).unwrap();
        limits(&resources, version).unwrap().into_iter().map(|p| (p.name, p.value)).collect()
    }

    #[test]
    fn limits_are_told_in_the_words_of_the_hosts_generation() {
        let resources = serde_json::json!({
            "memory": {"limit": 100, "swap": 300, "reservation": 50},
            "cpu": {"shares": 1024, "quota": 50500, "period": 100_000, "cpus": "0-1,9", "mems": "0"},
            "pids": {"limit": 0},
        });
        let named = |list: &[(&str, u64)]| {
            list.iter().map(|(n, v)| ((*n).to_owned(), Value::U64(*v))).collect::<Vec<_>>()
        };
        let mut v2 = named(&[
            ("MemoryMax", 100),
            ("MemoryLow", 50),
            ("MemorySwapMax", 200),
            ("CPUWeight", 100),
            ("CPUQuotaPeriodUSec", 100_000),
            ("CPUQuotaPerSecUSec", 510_000),
            ("TasksMax", 1),
        ]);
        v2.push(("AllowedCPUs".into(), Value::bytes(&[3, 2])));
        v2.push(("AllowedMemoryNodes".into(), Value::bytes(&[1])));
        assert_eq!(properties(resources.clone(), Version::V2), v2);
        let mut v1 = named(&[
            ("MemoryLimit", 100),
            ("CPUShares", 1024),
            ("CPUQuotaPeriodUSec", 100_000),
            ("CPUQuotaPerSecUSec", 510_000),
            ("TasksMax", 1),
        ]);
        v1.extend_from_slice(&v2[v2.len() - 2..]);
        assert_eq!(properties(resources, Version::Hybrid), v1);
    }

    #[test]
    fn files_that_systemd_has_a_property_for_are_told_it() {
        let json = serde_json::json!({
            "memory": {"limit": 5},
            "unified": {"memory.max": "max", "memory.high": "77", "cpu.max": "1000 2000", "cgroup.max.depth": "2"},
        });
        let mut all = properties(json, Version::V2);
        all.sort_by(|a, b| a.0.cmp(&b.0));
        let numbers: Vec<_> = all.iter().map(|(n, v)| format!("{n} {v:?}")).collect();
        let expected = [
            "CPUQuotaPerSecUSec U64(500000)",
            "CPUQuotaPeriodUSec U64(2000)",
            "MemoryHigh U64(77)",
            "MemoryMax U64(18446744073709551615)",
        ];
        assert_eq!(numbers, expected);
        assert!(of_file("pids.max", "many").is_err());
    }

    #[test]
    fn no_limit_is_told_as_infinity() {
        let json = serde_json::json!({"memory": {"limit": -1, "swap": -1}, "cpu": {"quota": -1}, "pids": {"limit": -1}});
        let all = properties(json, Version::V2);
        assert_eq!(all.len(), 4);
        assert!(all.iter().all(|(_, v)| *v == Value::U64(u64::MAX)), "{all:?}");
    }

    #[test]
    fn lists_of_cpus_are_sets_of_bits() {
        assert_eq!(bits("0,2-3, 8"), Some(vec![0b1101, 1]));
        for bad in ["a", "3-1", "0-99999", "1-"] {
            assert_eq!(bits(bad), None, "{bad}");
        }
    }

    #[test]
    fn annotations_name_properties() {
        let one = |name: &str, text: &str| {
            let key = format!("{ANNOTATION}{name}");
            Property::from_annotations(&[(key, text.to_owned())].into()).map(|mut p| p.remove(0)).ok()
        };
        let is = |name: &str, value| Some(Property::new(name, value));
        assert_eq!(one("TimeoutStopUSec", "uint64 5"), is("TimeoutStopUSec", Value::U64(5)));
        assert_eq!(one("TimeoutStopSec", "5"), is("TimeoutStopUSec", Value::U64(5_000_000)));
        assert_eq!(one("CollectMode", "'inactive'"), is("CollectMode", Value::text("inactive")));
        assert_eq!(one("SendSIGHUP", "true"), is("SendSIGHUP", Value::Bool(true)));
        let list = Value::Array("s".into(), vec![Value::text("a"), Value::text("b")]);
        assert_eq!(one("After", "['a', 'b']"), is("After", list));
        for bad in ["'a", "uint64 -1", "x", ""] {
            assert_eq!(one("After", bad), None, "{bad}");
        }
        assert_eq!(one("A-b", "1"), None);
        assert!(
            Property::from_annotations(&[("other".to_owned(), "?".to_owned())].into()).unwrap().is_empty()
        );
    }
}

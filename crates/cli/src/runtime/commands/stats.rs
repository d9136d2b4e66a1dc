//! What a control group counts, in runc's form.

use loment_cgroup::Cgroup;
use serde_json::{Map, Value, json};

/// Nanoseconds in a microsecond.
const MICRO: u64 = 1000;
/// Nanoseconds in a tick of `cpuacct.stat` (USER_HZ is 100 on every architecture we build for).
const TICK: u64 = 10_000_000;

/// The statistics of a group: those of its controllers that are there.
pub(super) fn of(group: &Cgroup<'_>) -> Value {
    let read = |file: &str| group.read(file);
    json!({
        "cpu": cpu(&read),
        "cpuset": cpuset(&read),
        "memory": memory(&read),
        "pids": without_zeroes([("current", number(&read, "pids.current")), ("limit", number(&read, "pids.max"))]),
        "blkio": blkio(&read),
        "hugetlb": {},
        "intel_rdt": {},
        "network_interfaces": null,
    })
}

/// A number in a file of its own; 0 for "max" and for files that are not there, as runc has it.
fn number(read: &impl Fn(&str) -> Option<String>, file: &str) -> u64 {
    read(file).and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// A file of lines `name number`.
fn table(text: &str) -> Map<String, Value> {
    let entry = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.trim().parse::<u64>().ok()?.into()))
    };
    text.lines().filter_map(entry).collect()
}

fn without_zeroes<const N: usize>(fields: [(&str, u64); N]) -> Value {
    fields
        .into_iter()
        .filter(|(_, n)| *n != 0)
        .map(|(name, n)| (name.to_owned(), n.into()))
        .collect::<Map<_, _>>()
        .into()
}

fn cpu(read: &impl Fn(&str) -> Option<String>) -> Value {
    let stat = table(&read("cpu.stat").unwrap_or_default());
    let field = |name: &str| stat.get(name).and_then(Value::as_u64).unwrap_or(0);
    let unified = stat.contains_key("usage_usec");
    let mut usage = if unified {
        json!({"kernel": field("system_usec") * MICRO, "user": field("user_usec") * MICRO})
    } else {
        let ticks = table(&read("cpuacct.stat").unwrap_or_default());
        let ticks = |name: &str| ticks.get(name).and_then(Value::as_u64).unwrap_or(0) * TICK;
        json!({"kernel": ticks("system"), "user": ticks("user")})
    };
    let total = if unified { field("usage_usec") * MICRO } else { number(read, "cpuacct.usage") };
    if total != 0 {
        usage["total"] = total.into();
    }
    for (name, file) in [
        ("percpu", "cpuacct.usage_percpu"),
        ("percpu_kernel", "cpuacct.usage_percpu_sys"),
        ("percpu_user", "cpuacct.usage_percpu_user"),
    ] {
        if let Some(text) = read(file) {
            usage[name] = text.split_whitespace().filter_map(|n| n.parse::<u64>().ok()).collect();
        }
    }
    let throttled = if unified { field("throttled_usec") * MICRO } else { field("throttled_time") };
    let throttling = without_zeroes([
        ("periods", field("nr_periods")),
        ("throttledPeriods", field("nr_throttled")),
        ("throttledTime", throttled),
    ]);
    json!({"usage": usage, "throttling": throttling})
}

/// A list such as `0-3,7`, number by number.
fn numbers(text: &str) -> Vec<u16> {
    let mut out = Vec::new();
    for part in text.trim().split(',').filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) {
            out.extend(first..=last);
        }
    }
    out
}

fn cpuset(read: &impl Fn(&str) -> Option<String>) -> Value {
    let mut set = json!({"sched_relax_domain_level": 0});
    for (name, file) in [("cpus", "cpuset.cpus"), ("mems", "cpuset.mems")] {
        let list = read(file).map(|text| numbers(&text)).unwrap_or_default();
        if !list.is_empty() {
            set[name] = json!(list);
        }
    }
    for name in [
        "cpu_exclusive",
        "mem_hardwall",
        "mem_exclusive",
        "memory_migrate",
        "memory_spread_page",
        "memory_spread_slab",
        "memory_pressure",
        "sched_load_balance",
    ] {
        set[name] = number(read, &format!("cpuset.{name}")).into();
    }
    if let Some(level) = read("cpuset.sched_relax_domain_level").and_then(|t| t.trim().parse::<i64>().ok()) {
        set["sched_relax_domain_level"] = level.into();
    }
    set
}

fn memory(read: &impl Fn(&str) -> Option<String>) -> Value {
    let raw = table(&read("memory.stat").unwrap_or_default());
    let cache = ["cache", "file"].iter().find_map(|name| raw.get(*name)).and_then(Value::as_u64).unwrap_or(0);
    let entry = |limit: u64, usage: u64, max: u64, failures: u64| {
        let mut entry = without_zeroes([("usage", usage), ("max", max)]);
        entry["limit"] = limit.into();
        entry["failcnt"] = failures.into();
        entry
    };
    let v1 = |prefix: &str| {
        let field = |name: &str| number(read, &format!("memory.{prefix}{name}"));
        entry(field("limit_in_bytes"), field("usage_in_bytes"), field("max_usage_in_bytes"), field("failcnt"))
    };
    let unified = read("memory.current").is_some();
    let max = |file: &str| match read(file).as_deref().map(str::trim) {
        Some("max") => u64::MAX,
        Some(text) => text.parse().unwrap_or(0),
        None => 0,
    };
    let (usage, swap) = if unified {
        let (memory, swap) = (number(read, "memory.current"), number(read, "memory.swap.current"));
        let (limit, extra) = (max("memory.max"), max("memory.swap.max"));
        // runc counts memory with swap, as v1 does.
        (
            entry(limit, memory, number(read, "memory.peak"), 0),
            entry(limit.saturating_add(extra), memory + swap, 0, 0),
        )
    } else {
        (v1(""), v1("memsw."))
    };
    let mut memory =
        json!({"usage": usage, "swap": swap, "kernel": v1("kmem."), "kernelTCP": v1("kmem.tcp.")});
    if cache != 0 {
        memory["cache"] = cache.into();
    }
    if !raw.is_empty() {
        memory["raw"] = raw.into();
    }
    memory
}

fn blkio(read: &impl Fn(&str) -> Option<String>) -> Value {
    let mut out = Map::new();
    for (name, file) in [
        ("ioServiceBytesRecursive", "blkio.throttle.io_service_bytes_recursive"),
        ("ioServicedRecursive", "blkio.throttle.io_serviced_recursive"),
    ] {
        let entries: Vec<Value> = read(file).unwrap_or_default().lines().filter_map(io_line).collect();
        if !entries.is_empty() {
            out.insert(name.to_owned(), entries.into());
        }
    }
    if let Some(text) = read("io.stat") {
        let entries: Vec<Value> = text.lines().flat_map(io_stat_line).collect();
        if !entries.is_empty() {
            out.insert("ioServiceBytesRecursive".to_owned(), entries.into());
        }
    }
    out.into()
}

/// v1: `8:0 Read 4096`.
fn io_line(line: &str) -> Option<Value> {
    let mut words = line.split_whitespace();
    let (major, minor) = words.next()?.split_once(':')?;
    let (op, value) = (words.next()?, words.next()?);
    let n = |text: &str| text.parse::<u64>().ok();
    Some(json!({"major": n(major)?, "minor": n(minor)?, "op": op, "value": n(value)?}))
}

/// v2: `8:0 rbytes=4096 wbytes=0 …`.
fn io_stat_line(line: &str) -> Vec<Value> {
    let (device, fields) = line.split_once(' ').unwrap_or((line, ""));
    let bytes = |key: &str| fields.split(' ').find_map(|f| f.strip_prefix(key)?.strip_prefix('='));
    [("rbytes", "Read"), ("wbytes", "Write")]
        .iter()
        .filter_map(|(key, op)| io_line(&format!("{device} {op} {}", bytes(key)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_are_understood() {
        assert_eq!(numbers("0-2,7\n"), [0, 1, 2, 7]);
        assert!(numbers("\n").is_empty());
        assert_eq!(table("nr_periods 3\nbad\nthrottled_usec x\n").len(), 1);
        assert_eq!(io_line("8:0 Read 12").unwrap()["value"], 12);
        assert_eq!(io_line("Total 12"), None);
        assert_eq!(io_stat_line("8:16 rbytes=1 wbytes=2 rios=3").len(), 2);
    }
}

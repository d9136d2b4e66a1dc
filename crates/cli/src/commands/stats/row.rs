//! What a container uses, as templates, tables and documents show it.

use jiff::Timestamp;
use loment_engine::{Container, Figures};
use serde_json::{Value, json};

use crate::units::{binary_size, exact_size, go_duration};

pub(in crate::commands) const HEADERS: [(&str, &str); 26] = [
    ("ID", "ID"),
    ("ContainerID", "CONTAINER ID"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("CPU", "CPU"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemUsageBytes", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("MemLimit", "MEM LIMIT"),
    ("NetIO", "NET IO"),
    ("NetInput", "NET INPUT"),
    ("NetOutput", "NET OUTPUT"),
    ("BlockIO", "BLOCK IO"),
    ("BlockInput", "BLOCK INPUT"),
    ("BlockOutput", "BLOCK OUTPUT"),
    ("PIDS", "PIDS"),
    ("PIDs", "PIDS"),
    ("Up", "CPU TIME"),
    ("UpTime", "CPU TIME"),
    ("AVGCPU", "AVG CPU %"),
    ("AvgCPU", "AVG CPU"),
    ("CPUNano", "CPU NANO"),
    ("CPUSystemNano", "CPU SYSTEM NANO"),
    ("Duration", "DURATION"),
    ("SystemNano", "SYSTEM NANO"),
    ("PerCPU", "PER CPU"),
];
pub(super) const PODMAN_COLUMNS: [&str; 10] =
    ["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDS", "UpTime", "AVGCPU"];

pub(in crate::commands) const DOCKER_HEADERS: [(&str, &str); 9] = [
    ("BlockIO", "BLOCK I/O"),
    ("CPUPerc", "CPU %"),
    ("Container", "CONTAINER"),
    ("ID", "CONTAINER ID"),
    ("MemPerc", "MEM %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("Name", "NAME"),
    ("NetIO", "NET I/O"),
    ("PIDs", "PIDS"),
];
pub(super) const DOCKER_COLUMNS: [&str; 8] =
    ["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"];

/// What was used at a moment: nanoseconds of CPU time, and since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    cpu: u64,
    at: i128,
}

/// What a container uses, and how much since it was read before.
#[derive(Debug)]
pub(super) struct Reading {
    container: Container,
    figures: Figures,
    mark: Mark,
    /// Percent of one CPU since it was read before, or since the start.
    percent: f64,
    /// The same since the start.
    average: f64,
}

impl Reading {
    pub(super) fn new(container: Container, figures: Figures, before: Option<&Mark>) -> Self {
        let now = Timestamp::now().as_nanosecond();
        let mark = Mark { cpu: figures.group.cpu, at: now };
        let started = container.state.started_at.parse::<Timestamp>();
        let start = Mark { cpu: 0, at: started.map_or(now, Timestamp::as_nanosecond) };
        // One that was started again meanwhile counts anew.
        let before = before.filter(|before| before.cpu <= mark.cpu && before.at > start.at).unwrap_or(&start);
        let average = percent(&start, &mark);
        Self { percent: percent(before, &mark), container, figures, mark, average }
    }

    pub(super) fn id(&self) -> &str {
        &self.container.config.id
    }

    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    fn shown_id(&self, no_trunc: bool) -> &str {
        if no_trunc { self.id() } else { self.container.short_id() }
    }

    fn memory_percent(&self, memory: u64) -> String {
        let limit = self.figures.memory_limit;
        let percent = if limit == 0 { 0.0 } else { memory as f64 * 100.0 / limit as f64 };
        format!("{percent:.2}%")
    }
}

fn percent(before: &Mark, now: &Mark) -> f64 {
    let time = now.at - before.at;
    if time <= 0 { 0.0 } else { now.cpu.saturating_sub(before.cpu) as f64 * 100.0 / time as f64 }
}

fn pair(first: u64, second: u64, size: fn(u64) -> String) -> String {
    format!("{} / {}", size(first), size(second))
}

/// In Podman's words.
pub(super) fn row(reading: &Reading, no_trunc: bool) -> Value {
    let Figures { group, memory_limit, received, sent } = &reading.figures;
    json!({
        "ID": reading.shown_id(no_trunc), "ContainerID": reading.id(), "Name": reading.container.config.name,
        "CPUPerc": format!("{:.2}%", reading.percent), "CPU": reading.percent,
        "MemUsage": pair(group.memory, *memory_limit, exact_size),
        "MemUsageBytes": pair(group.memory, *memory_limit, binary_size),
        "MemPerc": reading.memory_percent(group.memory), "MemLimit": memory_limit,
        "NetIO": pair(*received, *sent, exact_size), "NetInput": received, "NetOutput": sent,
        "BlockIO": pair(group.read, group.written, exact_size),
        "BlockInput": group.read, "BlockOutput": group.written,
        "PIDS": group.tasks.to_string(), "PIDs": group.tasks,
        "Up": go_duration(group.cpu), "UpTime": go_duration(group.cpu),
        "AVGCPU": format!("{:.2}%", reading.average), "AvgCPU": reading.average,
        "CPUNano": group.cpu, "CPUSystemNano": group.cpu_kernel, "Duration": group.cpu,
        "SystemNano": i64::try_from(reading.mark.at).unwrap_or_default(), "PerCPU": group.per_cpu,
    })
}

/// Podman's document, which has names of its own.
pub(super) fn document(reading: &Reading, no_trunc: bool) -> Value {
    let row = row(reading, no_trunc);
    json!({
        "id": row["ID"], "name": row["Name"], "cpu_time": row["UpTime"], "cpu_percent": row["CPUPerc"],
        "avg_cpu": row["AVGCPU"], "mem_usage": row["MemUsage"], "mem_percent": row["MemPerc"],
        "net_io": row["NetIO"], "block_io": row["BlockIO"], "pids": row["PIDS"],
    })
}

/// In Docker's words: files that are not in use do not count as memory.
pub(super) fn docker_row(reading: &Reading, no_trunc: bool) -> Value {
    let Figures { group, memory_limit, received, sent } = &reading.figures;
    let memory = group.memory.saturating_sub(group.inactive_file);
    json!({
        "BlockIO": pair(group.read, group.written, exact_size), "CPUPerc": format!("{:.2}%", reading.percent),
        "Container": reading.shown_id(no_trunc), "ID": reading.shown_id(no_trunc),
        "MemPerc": reading.memory_percent(memory), "MemUsage": pair(memory, *memory_limit, binary_size),
        "Name": reading.container.config.name, "NetIO": pair(*received, *sent, exact_size),
        "PIDs": group.tasks.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_of_one_cpu() {
        let mark = |cpu, at| Mark { cpu, at };
        assert_eq!(percent(&mark(0, 0), &mark(150, 100)), 150.0);
        assert_eq!(percent(&mark(100, 50), &mark(125, 100)), 50.0);
        assert_eq!(percent(&mark(5, 5), &mark(9, 5)), 0.0);
    }
}

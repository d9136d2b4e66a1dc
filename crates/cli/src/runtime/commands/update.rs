//! `update`.

use std::io::Read;

use anyhow::{Context, bail};
use oci_spec::runtime::LinuxResources;
use serde_json::{Value, json};

use super::super::arguments::{Argument, Arguments, unknown};
use super::super::class::Class;
use super::super::globals::{Runtime, id};
use crate::units::parse_size;

pub(super) const HELP: &str = "\
Change the limits of a container

Usage: loment-runtime update [OPTIONS] <ID>

Options:
  -r, --resources <FILE>           Read the resources from this JSON file, or from standard input with -
      --blkio-weight <WEIGHT>      Set the weight for block I/O
      --cpu-period <US>            Set the CPU period
      --cpu-quota <US>             Set the CPU time in each period
      --cpu-burst <US>             Set the CPU time that may be saved up
      --cpu-share <SHARES>         Set the CPU shares
      --cpu-rt-period <US>         Set the period for real-time processes
      --cpu-rt-runtime <US>        Set the CPU time in each such period
      --cpu-idle <0|1>             Run only when nothing else wants to
      --cpuset-cpus <CPUS>         Allow these CPUs
      --cpuset-mems <NODES>        Allow these memory nodes
      --memory <SIZE>              Limit memory, -1 for no limit
      --memory-reservation <SIZE>  Set what is left to it when memory is short
      --memory-swap <SIZE>         Limit memory and swap together, -1 for no limit
      --pids-limit <NUMBER>        Limit the number of processes, -1 for no limit
      --kernel-memory <SIZE>       Ignored: the kernel has no such limit any more
      --kernel-memory-tcp <SIZE>   Limit memory for TCP buffers
      --l3-cache-schema <SCHEMA>   Set the share of the L3 cache
      --mem-bw-schema <SCHEMA>     Set the share of the memory bandwidth
  -h, --help                       Print help
";

pub(super) fn run(arguments: &mut Arguments<'_>, runtime: &Runtime<'_>) -> anyhow::Result<u8> {
    let (mut words, mut document, mut file) = (Vec::new(), json!({}), None);
    while let Some(argument) = arguments.next()? {
        match argument {
            Argument::Word(word) => words.push(word),
            Argument::Flag(flag @ ("-r" | "--resources")) => file = Some(arguments.value(flag)?),
            Argument::Flag("--kernel-memory") => {
                arguments.value("--kernel-memory")?;
                runtime.log.warn("--kernel-memory is ignored: the kernel has no such limit any more");
            }
            Argument::Flag(flag) => match target(flag) {
                Some((path, kind)) => set(&mut document, path, kind.value(flag, arguments.value(flag)?)?),
                None => return unknown(flag),
            },
        }
    }
    // As with runc, the file replaces what the flags say.
    if let Some(name) = file {
        document = read(name)?;
    }
    let (l3, bandwidth) = (schema(&mut document, L3), schema(&mut document, BANDWIDTH));
    let only_schemas = (l3.is_some() || bandwidth.is_some()) && document == json!({});
    let resources = resources(document)?;
    let found = runtime.find(&id(&words)?)?;
    found.must_live()?;
    if l3.is_some() || bandwidth.is_some() {
        let Some(class) = Class::recorded(&found.record)? else {
            bail!("container {:?} has no class of resctrl: it was made without linux.intelRdt", found.id());
        };
        class.update(l3.as_deref(), bandwidth.as_deref())?;
    }
    if !only_schemas {
        found.needed_place()?.group().apply(&resources)?;
    }
    Ok(0)
}

/// The names of what is for resctrl.
const L3: &str = "l3CacheSchema";
const BANDWIDTH: &str = "memBwSchema";

/// How a flag's value is written.
#[derive(Clone, Copy)]
enum Kind {
    Number,
    Size,
    Text,
}

/// Where in the resources a flag's value goes.
fn target(flag: &str) -> Option<(&'static [&'static str], Kind)> {
    Some(match flag {
        "--blkio-weight" => (&["blockIO", "weight"], Kind::Number),
        "--cpu-period" => (&["cpu", "period"], Kind::Number),
        "--cpu-quota" => (&["cpu", "quota"], Kind::Number),
        "--cpu-burst" => (&["cpu", "burst"], Kind::Number),
        "--cpu-share" => (&["cpu", "shares"], Kind::Number),
        "--cpu-rt-period" => (&["cpu", "realtimePeriod"], Kind::Number),
        "--cpu-rt-runtime" => (&["cpu", "realtimeRuntime"], Kind::Number),
        "--cpu-idle" => (&["cpu", "idle"], Kind::Number),
        "--cpuset-cpus" => (&["cpu", "cpus"], Kind::Text),
        "--cpuset-mems" => (&["cpu", "mems"], Kind::Text),
        "--memory" => (&["memory", "limit"], Kind::Size),
        "--memory-reservation" => (&["memory", "reservation"], Kind::Size),
        "--memory-swap" => (&["memory", "swap"], Kind::Size),
        "--kernel-memory-tcp" => (&["memory", "kernelTCP"], Kind::Size),
        "--pids-limit" => (&["pids", "limit"], Kind::Number),
        "--l3-cache-schema" => (&[L3], Kind::Text),
        "--mem-bw-schema" => (&[BANDWIDTH], Kind::Text),
        _ => return None,
    })
}

impl Kind {
    fn value(self, flag: &str, text: &str) -> anyhow::Result<Value> {
        let number = match self {
            Self::Text => return Ok(text.into()),
            Self::Number => text.parse().ok(),
            Self::Size if text == "-1" => Some(-1),
            Self::Size => parse_size(text),
        };
        let number: i64 = number.with_context(|| format!("invalid {flag} {text:?}: not a number"))?;
        Ok(number.into())
    }
}

fn set(document: &mut Value, path: &[&str], value: Value) {
    *path.iter().fold(document, |at, name| &mut at[*name]) = value;
}

fn read(name: &str) -> anyhow::Result<Value> {
    let mut bytes = Vec::new();
    let read = match name {
        "-" => std::io::stdin().read_to_end(&mut bytes).map(drop),
        path => std::fs::read(path).map(|content| bytes = content),
    };
    read.with_context(|| format!("read resources from {name}"))?;
    serde_json::from_slice(&bytes).with_context(|| format!("parse resources from {name}"))
}

/// Takes what is for resctrl, and no part of the specification's resources, out of them.
fn schema(document: &mut Value, name: &str) -> Option<String> {
    let value = document.as_object_mut()?.remove(name)?;
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The limits to write. What the document leaves empty stays as it is, and device rules are the container's for life (runc's
/// `update` leaves them out, too).
fn resources(mut document: Value) -> anyhow::Result<LinuxResources> {
    remove_empty(&mut document);
    if let Some(fields) = document.as_object_mut() {
        fields.remove("devices");
    }
    // A document without any limit is no document at all.
    if document.is_null() {
        document = json!({});
    }
    serde_json::from_value(document).context("parse resources")
}

/// Engines send every field they know, with zeroes and empty texts for those that are not set.
fn remove_empty(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, v| {
            remove_empty(v);
            !is_empty(v)
        });
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_resources() {
        let mut document = json!({});
        for (flag, text) in [("--memory", "64m"), ("--pids-limit", "-1"), ("--cpuset-cpus", "0")] {
            let (path, kind) = target(flag).unwrap();
            set(&mut document, path, kind.value(flag, text).unwrap());
        }
        let r = resources(document).unwrap();
        assert_eq!(r.memory().as_ref().unwrap().limit(), Some(64 << 20));
        assert_eq!(r.pids().as_ref().unwrap().limit(), -1);
        assert!(Kind::Size.value("--memory", "many").is_err());
    }

    #[test]
    fn what_engines_leave_empty_is_left_alone() {
        let document =
            json!({"blockIO": {"weightDevice": []}, "cpu": {"cpus": "", "shares": 512}, "devices": [{}]});
        let r = resources(document).unwrap();
        assert!(r.block_io().is_none() && r.devices().is_none());
        assert_eq!(r.cpu().as_ref().unwrap().shares(), Some(512));
    }
}

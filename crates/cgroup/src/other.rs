//! The small controllers: network classes of v1, RDMA.

use std::collections::HashMap;

use oci_spec::runtime::{LinuxNetwork, LinuxRdma};

use crate::Error;
use crate::dir::Dir;

pub(crate) fn apply_class(group: &Dir, network: &LinuxNetwork) -> Result<(), Error> {
    network.class_id().map_or(Ok(()), |id| group.write("net_cls.classid", &id.to_string()))
}

pub(crate) fn apply_priorities(group: &Dir, network: &LinuxNetwork) -> Result<(), Error> {
    let list = network.priorities().as_deref().unwrap_or_default();
    if list.is_empty() {
        return Ok(());
    }
    group.write_each("net_prio.ifpriomap", list.iter().map(|p| format!("{} {}", p.name(), p.priority())))
}

/// The same file on v1 and v2.
pub(crate) fn apply_rdma(group: &Dir, devices: &HashMap<String, LinuxRdma>) -> Result<(), Error> {
    for (name, limits) in devices {
        if name.contains(char::is_whitespace) {
            return Err(Error::Value { name: "RDMA device", value: name.clone() });
        }
        let mut line = name.clone();
        for (key, value) in [("hca_handle", limits.hca_handles()), ("hca_object", limits.hca_objects())] {
            if let Some(n) = value {
                line.push_str(&format!(" {key}={n}"));
            }
        }
        group.write("rdma.max", &line)?;
    }
    Ok(())
}

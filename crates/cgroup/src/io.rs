//! Block I/O: weights and rates, on v1 and v2.

use oci_spec::runtime::{LinuxBlockIo, LinuxThrottleDevice};

use crate::Error;
use crate::dir::Dir;

/// The four kinds of rate: what v1's file is called, and v2's key.
const RATES: [(&str, &str); 4] = [
    ("blkio.throttle.read_bps_device", "rbps"),
    ("blkio.throttle.write_bps_device", "wbps"),
    ("blkio.throttle.read_iops_device", "riops"),
    ("blkio.throttle.write_iops_device", "wiops"),
];

fn rates(io: &LinuxBlockIo) -> [&[LinuxThrottleDevice]; 4] {
    [
        io.throttle_read_bps_device(),
        io.throttle_write_bps_device(),
        io.throttle_read_iops_device(),
        io.throttle_write_iops_device(),
    ]
    .map(|list| list.as_deref().unwrap_or_default())
}

/// The first of `files` that the group has: the schedulers name theirs differently. Without any, the last is tried, and the
/// error names it.
fn present<'f>(group: &Dir, files: [&'f str; 2]) -> &'f str {
    if group.has(files[0]) { files[0] } else { files[1] }
}

/// Weights go to the BFQ scheduler's files where they are (CFQ, whose files had no prefix, ended with Linux 5.0).
pub(crate) fn apply_v1(group: &Dir, io: &LinuxBlockIo) -> Result<(), Error> {
    let set = |files, value: Option<u16>| {
        value.filter(|&w| w != 0).map_or(Ok(()), |w| group.write(present(group, files), &w.to_string()))
    };
    set(["blkio.bfq.weight", "blkio.weight"], io.weight())?;
    set(["blkio.bfq.leaf_weight", "blkio.leaf_weight"], io.leaf_weight())?;
    for d in io.weight_device().iter().flatten() {
        let set = |files, value: Option<u16>| {
            let text = value.map(|w| format!("{}:{} {w}", d.major(), d.minor()));
            text.map_or(Ok(()), |t| group.write(present(group, files), &t))
        };
        set(["blkio.bfq.weight_device", "blkio.weight_device"], d.weight())?;
        set(["blkio.bfq.leaf_weight_device", "blkio.leaf_weight_device"], d.leaf_weight())?;
    }
    for ((file, _), list) in RATES.iter().zip(rates(io)).filter(|(_, list)| !list.is_empty()) {
        group.write_each(file, list.iter().map(|d| format!("{}:{} {}", d.major(), d.minor(), d.rate())))?;
    }
    Ok(())
}

/// v1's weight (10 to 1000) as that of `io.weight` (1 to 10000): linear, as runc and crun do it.
pub(crate) fn weight_v2(weight: u16) -> u64 {
    1 + (u64::from(weight.clamp(10, 1000)) - 10) * 9999 / 990
}

pub(crate) fn apply_v2(group: &Dir, io: &LinuxBlockIo) -> Result<(), Error> {
    let devices = io.weight_device().as_deref().unwrap_or_default();
    if io.leaf_weight().is_some_and(|w| w != 0) || devices.iter().any(|d| d.leaf_weight().is_some()) {
        return Err(Error::Unsupported { what: "block I/O leaf weight (cgroup v2 has none)" });
    }
    let bfq = group.has("io.bfq.weight");
    let file = if bfq { "io.bfq.weight" } else { "io.weight" };
    let text = |weight: u16| if bfq { weight.to_string() } else { weight_v2(weight).to_string() };
    if let Some(weight) = io.weight().filter(|&w| w != 0) {
        group.write(file, &text(weight))?;
    }
    for d in devices {
        if let Some(weight) = d.weight() {
            group.write(file, &format!("{}:{} {}", d.major(), d.minor(), text(weight)))?;
        }
    }
    for ((_, key), list) in RATES.iter().zip(rates(io)).filter(|(_, list)| !list.is_empty()) {
        let line = |d: &LinuxThrottleDevice| match d.rate() {
            0 => format!("{}:{} {key}=max", d.major(), d.minor()),
            rate => format!("{}:{} {key}={rate}", d.major(), d.minor()),
        };
        group.write_each("io.max", list.iter().map(line))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn weights_map_end_points() {
        assert_eq!([10, 100, 1000].map(super::weight_v2), [1, 910, 10_000]);
    }
}

//! What CRIU counts while it works (criu.org, "Statistics"; `images/stats.proto`).

use std::io::Read;

use prost::Message as _;
use rustix::fs::OFlags;

use super::Images;

/// Two numbers that every such file begins with.
const MAGIC: [u32; 2] = [0x5510_5940, 0x5709_3306];
/// More than any has.
const LONGEST: u64 = 64 * 1024;

#[derive(Clone, PartialEq, prost::Message)]
struct Entry {
    #[prost(message, optional, tag = "1")]
    dump: Option<DumpStats>,
    #[prost(message, optional, tag = "2")]
    restore: Option<RestoreStats>,
}

/// Of a checkpoint; times are in microseconds.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DumpStats {
    /// Until all processes stood still.
    #[prost(uint32, tag = "1")]
    pub freezing_time: u32,
    /// How long they did.
    #[prost(uint32, tag = "2")]
    pub frozen_time: u32,
    /// Until their memory was taken.
    #[prost(uint32, tag = "3")]
    pub memdump_time: u32,
    /// Until it was written.
    #[prost(uint32, tag = "4")]
    pub memwrite_time: u32,
    /// Pages that were looked at.
    #[prost(uint64, tag = "5")]
    pub pages_scanned: u64,
    /// Pages that were written.
    #[prost(uint64, tag = "7")]
    pub pages_written: u64,
}

/// Of a restore; times are in microseconds.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RestoreStats {
    /// Until all processes were made.
    #[prost(uint32, tag = "3")]
    pub forking_time: u32,
    /// Until they were what they had been.
    #[prost(uint32, tag = "4")]
    pub restore_time: u32,
    /// Pages that were read.
    #[prost(uint64, tag = "5")]
    pub pages_restored: u64,
}

impl Images {
    /// What was counted when they were made; `None` if there is nothing to read.
    pub fn dump_stats(&self) -> Option<DumpStats> {
        self.stats("stats-dump")?.dump
    }

    /// What was counted when they were last restored from.
    pub fn restore_stats(&self) -> Option<RestoreStats> {
        self.stats("stats-restore")?.restore
    }

    fn stats(&self, file: &str) -> Option<Entry> {
        let file = self.work_file(file, OFlags::RDONLY | OFlags::NONBLOCK).ok()?;
        let mut bytes = Vec::new();
        file.take(LONGEST).read_to_end(&mut bytes).ok()?;
        parse(&bytes)
    }
}

/// Two numbers, a length, and a message.
fn parse(bytes: &[u8]) -> Option<Entry> {
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    if [number(0)?, number(4)?] != MAGIC {
        return None;
    }
    let length = usize::try_from(number(8)?).ok()?;
    Entry::decode(bytes.get(12..)?.get(..length)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_read_and_nothing_else() {
        let entry = Entry {
            dump: Some(DumpStats { frozen_time: 7, pages_written: 9, ..DumpStats::default() }),
            restore: None,
        };
        let message = entry.encode_to_vec();
        let length = (message.len() as u32).to_le_bytes();
        let file = [&MAGIC[0].to_le_bytes()[..], &MAGIC[1].to_le_bytes(), &length, &message].concat();
        assert_eq!(parse(&file).unwrap(), entry);
        for cut in 0..file.len() {
            assert!(parse(&file[..cut]).is_none(), "{cut}");
        }
        assert!(parse(&[b'x'; 64]).is_none());
    }
}

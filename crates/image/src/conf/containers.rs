//! containers.conf (containers.conf(5)): what it says of images on their way, and of events. For all else there is [`super::Layers`].

use std::path::PathBuf;

use serde::Deserialize;

use super::error::ConfError;
use super::registries::File;
use crate::compress::Compression;

/// How images are transferred when nothing else is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransferDefaults {
    /// `compression_format`
    pub format: Option<Compression>,
    /// `compression_level`
    pub level: Option<i32>,
    /// `image_parallel_copies`: layers at the same time; 0 says nothing.
    pub parallel: Option<usize>,
    /// `retry`: how often what failed is tried again.
    pub retry: Option<u32>,
    /// `retry_delay`: how long to wait before, as times are written; nothing when it is empty.
    pub retry_delay: Option<String>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    engine: Engine,
}

#[derive(Default, Deserialize)]
struct Engine {
    compression_format: Option<String>,
    compression_level: Option<i32>,
    image_parallel_copies: Option<usize>,
    retry: Option<u32>,
    retry_delay: Option<String>,
    events_logger: Option<String>,
    events_logfile_max_size: Option<Number>,
    events_logfile_path: Option<PathBuf>,
}

/// A size: with a unit, or in bytes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Text(String),
    Bytes(u64),
}

/// Where events are kept when nothing else is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventsDefaults {
    /// `events_logger`
    pub logger: Option<String>,
    /// `events_logfile_max_size`, as a size is written
    pub max_size: Option<String>,
    /// `events_logfile_path`
    pub path: Option<PathBuf>,
}

impl EventsDefaults {
    /// Whether a file may say anything of events: it is looked at by most commands.
    pub fn may_be_in(file: File<'_>) -> bool {
        file.mentions(&["events_log"])
    }

    /// Puts files together, as [`TransferDefaults::parse`] does.
    ///
    /// # Errors
    /// [`ConfError`] for the first file that cannot be used.
    pub fn parse<'t>(files: impl IntoIterator<Item = File<'t>>) -> Result<Self, ConfError> {
        let mut all = Self::default();
        for file in files {
            let document: Document = file.toml()?;
            all.logger = document.engine.events_logger.or(all.logger);
            let size = document.engine.events_logfile_max_size.map(|size| match size {
                Number::Text(text) => text,
                Number::Bytes(bytes) => bytes.to_string(),
            });
            all.max_size = size.or(all.max_size);
            all.path = document.engine.events_logfile_path.or(all.path);
        }
        Ok(all)
    }
}

impl TransferDefaults {
    /// Puts files together: the main one, then drop-ins in their order.
    ///
    /// # Errors
    /// [`ConfError`] for the first file that cannot be used.
    pub fn parse<'t>(files: impl IntoIterator<Item = File<'t>>) -> Result<Self, ConfError> {
        let mut all = Self::default();
        for file in files {
            let document: Document = file.toml()?;
            if let Some(value) = document.engine.compression_format.filter(|value| !value.is_empty()) {
                // Chunks are found by an index that not every zstd layer has; without it they are read all the same.
                let name = value.strip_suffix(":chunked").unwrap_or(&value);
                let Ok(format) = name.parse() else {
                    let (file, key) = (file.name.to_owned(), "compression_format");
                    return Err(ConfError::Value { file, key, value, problem: "use gzip or zstd" });
                };
                all.format = Some(format);
            }
            all.level = document.engine.compression_level.or(all.level);
            all.parallel = document.engine.image_parallel_copies.or(all.parallel);
            all.retry = document.engine.retry.or(all.retry);
            all.retry_delay = document.engine.retry_delay.or(all.retry_delay);
        }
        all.parallel = all.parallel.filter(|&count| count > 0);
        all.retry_delay = all.retry_delay.filter(|text| !text.is_empty());
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[&str]) -> Result<TransferDefaults, String> {
        let files = texts.iter().map(|text| File { name: "f", text });
        TransferDefaults::parse(files).map_err(|e| e.to_string())
    }

    #[test]
    fn later_files_replace_what_earlier_ones_say() {
        let main = "[containers]\nlog_driver = \"x\"\n[engine]\ncompression_format = \"zstd\"\ncompression_level = 7\n";
        let found = parse(&[main]).unwrap();
        assert_eq!((found.format, found.level), (Some(Compression::Zstd), Some(7)));
        let found = parse(&[main, "[engine]\ncompression_format = \"gzip\""]).unwrap();
        assert_eq!((found.format, found.level), (Some(Compression::Gzip), Some(7)));
        assert_eq!(
            parse(&["[engine]\ncompression_format = \"zstd:chunked\""]).unwrap().format,
            Some(Compression::Zstd)
        );
        assert_eq!(parse(&["", "# nothing\n"]).unwrap(), TransferDefaults::default());
        let told = parse(&["[engine]\ncompression_format = \"bzip2\""]).unwrap_err();
        assert_eq!(told, "f: invalid compression_format \"bzip2\": use gzip or zstd");
        assert!(parse(&["[engine]\ncompression_level = \"x\""]).unwrap_err().contains("line 2"));
    }

    #[test]
    fn what_is_empty_says_nothing() {
        let main = "[engine]\nimage_parallel_copies = 8\nretry = 5\nretry_delay = \"3s\"";
        let found = parse(&[main]).unwrap();
        assert_eq!(
            (found.parallel, found.retry, found.retry_delay.as_deref()),
            (Some(8), Some(5), Some("3s"))
        );
        let found =
            parse(&[main, "[engine]\nimage_parallel_copies = 0\nretry = 0\nretry_delay = \"\""]).unwrap();
        assert_eq!((found.parallel, found.retry, found.retry_delay), (None, Some(0), None));
        assert!(parse(&["[engine]\nretry = -1"]).unwrap_err().contains("line 2"));
    }

    #[test]
    fn events_are_where_the_last_file_says() {
        let files = [
            "[engine]\nevents_logger = \"none\"\n",
            "[engine]\nevents_logfile_max_size = \"5m\"\nevents_logfile_path = \"/e/log\"\n",
        ];
        let all = files.iter().map(|&text| File { name: "containers.conf", text });
        let path = Some("/e/log".into());
        let expected = EventsDefaults { logger: Some("none".into()), max_size: Some("5m".into()), path };
        assert_eq!(EventsDefaults::parse(all).unwrap(), expected);
        let text = "[engine]\nevents_logfile_max_size = 4750\n";
        let in_bytes = EventsDefaults::parse([File { name: "containers.conf", text }]).unwrap();
        assert_eq!(in_bytes.max_size.as_deref(), Some("4750"));
        let says = |text| EventsDefaults::may_be_in(File { name: "containers.conf", text });
        assert!(says(files[0]) && says("engine = { events_logger = \"file\" }"));
        assert!(!says("[engine]\n  # events_logger = \"journald\"\n#events_logfile_max_size=1\n"));
    }
}

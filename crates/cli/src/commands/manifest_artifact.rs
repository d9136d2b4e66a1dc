//! Flags of `manifest add` for artifacts: files that are no image.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use loment_engine::NewArtifact;

use super::manifest::pair;
use crate::error::{Doing, Error};

/// A configuration that is larger nobody takes.
const MAX_CONFIG: u64 = 4 << 20;

#[derive(Args, Debug)]
pub(super) struct ArtifactFlags {
    /// Make one artifact of files, and add that
    #[arg(long)]
    pub(super) artifact: bool,
    /// Set an annotation of the artifact's manifest
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair, requires = "artifact")]
    artifact_annotation: Vec<(String, String)>,
    /// Take the artifact's configuration from this file [default: an empty one]
    #[arg(long, value_name = "FILE", requires = "artifact")]
    artifact_config: Option<PathBuf>,
    /// Say that the artifact's configuration has this media type
    #[arg(long, value_name = "TYPE", requires = "artifact")]
    artifact_config_type: Option<String>,
    /// Leave the names of the files out
    #[arg(long, requires = "artifact")]
    artifact_exclude_titles: bool,
    /// Say that the files have this media type [default: by their names, or their first bytes]
    #[arg(long, value_name = "TYPE", requires = "artifact")]
    artifact_layer_type: Option<String>,
    /// Say that the artifact is about this image or list
    #[arg(long, value_name = "IMAGE", requires = "artifact")]
    artifact_subject: Option<String>,
    /// Say that the artifact is of this type [default: application/vnd.unknown.artifact.v1]
    #[arg(long, value_name = "TYPE", requires = "artifact")]
    artifact_type: Option<String>,
}

impl ArtifactFlags {
    /// What was asked for, of these files.
    pub(super) fn artifact(&self, files: &[String]) -> Result<NewArtifact, Error> {
        let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let config = match &self.artifact_config {
            None => None,
            Some(path) => {
                let mut bytes = Vec::new();
                let file =
                    File::open(path).and_then(|file| file.take(MAX_CONFIG + 1).read_to_end(&mut bytes));
                file.doing(|| format!("read {}", path.display()))?;
                Some(bytes).filter(|bytes| !bytes.is_empty())
            }
        };
        Ok(NewArtifact {
            kind: self.artifact_type.clone(),
            config,
            config_type: said(&self.artifact_config_type),
            layer_type: said(&self.artifact_layer_type),
            annotations: self.artifact_annotation.clone(),
            without_titles: self.artifact_exclude_titles,
            subject: said(&self.artifact_subject),
            files: files.iter().map(PathBuf::from).collect(),
        })
    }
}

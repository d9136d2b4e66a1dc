//! Images with the platforms of the indexes that they came through.

use std::collections::{HashMap, HashSet};

use loment_image::{Platform, listed};
use loment_store::{ImagePlatform, ImageRecord};
use oci_spec::image::Digest;
use serde_json::Value;

use crate::images::ImageSummary;
use crate::push_list::is_attestation;
use crate::{Engine, Error};

/// An image or list under the names for which it is the same index or manifest.
#[derive(Clone, Debug)]
pub struct ImageTree {
    /// Those names, sorted; empty for an image that has none.
    pub names: Vec<String>,
    /// What it occupies on disk, in bytes; what its images share counts once.
    pub disk: u64,
    /// Bytes that a registry has of its images that are here, most of them compressed.
    pub content: u64,
    /// Containers were made of one of its images.
    pub in_use: bool,
    /// Its images, in the order of the index.
    pub branches: Vec<Branch>,
}

/// An image of an index, here or not.
#[derive(Clone, Debug)]
pub struct Branch {
    /// What it is for.
    pub platform: Platform,
    /// The digest of its manifest; of an image without one, that of its configuration.
    pub digest: String,
    /// What it occupies on disk, in bytes; 0 when it is not here.
    pub disk: u64,
    /// Bytes that a registry has of it; 0 when it is not here.
    pub content: u64,
    /// Containers were made of it.
    pub in_use: bool,
}

/// Makes trees of images.
#[derive(Debug)]
pub struct ImageTrees<'e> {
    engine: &'e Engine,
    /// By the digests of their own manifests, with what a registry has of them.
    images: HashMap<String, (&'e ImageSummary, u64)>,
    sizes: HashMap<String, u64>,
}

impl<'e> ImageTrees<'e> {
    /// Reads the manifests of all images.
    pub fn new(engine: &'e Engine, all: &'e [ImageSummary]) -> Self {
        let mut images = HashMap::new();
        for summary in all.iter().filter(|summary| !summary.list) {
            let record = &summary.image.image;
            for digest in &record.manifests {
                if let Some(content) = content(engine, digest, record) {
                    images.insert(digest.to_string(), (summary, content));
                }
            }
        }
        Self { engine, images, sizes: HashMap::new() }
    }

    /// A tree for each index or manifest that names of this image stand for.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn of(&mut self, summary: &'e ImageSummary) -> Result<Vec<ImageTree>, Error> {
        let record = &summary.image.image;
        let mut tops: Vec<(Option<&Digest>, Vec<String>)> = Vec::new();
        for name in &summary.image.names {
            let top = name.manifest.as_ref().or(record.manifests.first());
            match tops.iter_mut().find(|(known, _)| *known == top) {
                Some((_, names)) => names.push(name.name.clone()),
                None => tops.push((top, vec![name.name.clone()])),
            }
        }
        if tops.is_empty() {
            tops.push((record.manifests.first(), Vec::new()));
        }
        let mut trees = Vec::new();
        for (top, names) in tops {
            let branches = self.branches(summary, top)?;
            let mut parts: HashSet<String> = branches.iter().flat_map(|(_, parts)| parts).cloned().collect();
            if let Some(index) = top.filter(|_| summary.list) {
                self.sizes.insert(index.to_string(), self.engine.store().blob_usage(index)?);
                parts.insert(index.to_string());
            }
            let branches: Vec<Branch> = branches.into_iter().map(|(branch, _)| branch).collect();
            trees.push(ImageTree {
                names,
                disk: self.size(&parts),
                content: branches.iter().map(|branch| branch.content).sum(),
                in_use: branches.iter().any(|branch| branch.in_use),
                branches,
            });
        }
        Ok(trees)
    }

    /// The images of an index, each with its parts in the store; of what is no index, that image.
    fn branches(
        &mut self,
        summary: &'e ImageSummary,
        top: Option<&Digest>,
    ) -> Result<Vec<(Branch, HashSet<String>)>, Error> {
        let listed = top.map(|top| listed(self.engine.store(), top)).transpose()?.flatten();
        let Some(listed) = listed else {
            let digest = top.unwrap_or(summary.image.image.id.digest()).to_string();
            let content = self.images.get(&digest).map_or(0, |(_, content)| *content);
            return Ok(vec![self.here(summary, digest, content)?]);
        };
        let mut branches = Vec::new();
        for entry in listed.iter().filter(|entry| !is_attestation(entry)) {
            let digest = entry.digest().to_string();
            let platform = entry.platform().as_ref().map(Platform::from);
            match (self.images.get(&digest), platform) {
                (Some((image, content)), _) => branches.push(self.here(image, digest, *content)?),
                (None, Some(platform)) => {
                    let branch = Branch { platform, digest, disk: 0, content: 0, in_use: false };
                    branches.push((branch, HashSet::new()));
                }
                // An index, or no image.
                (None, None) => {}
            }
        }
        Ok(branches)
    }

    /// An image that is in the store.
    fn here(
        &mut self,
        summary: &ImageSummary,
        digest: String,
        content: u64,
    ) -> Result<(Branch, HashSet<String>), Error> {
        let record = &summary.image.image;
        let parts = self.engine.parts_of(record, &mut self.sizes)?;
        let ImagePlatform { os, architecture, variant } = record.platform.clone();
        let platform = Platform { os, architecture, variant };
        let (disk, in_use) = (self.size(&parts), summary.containers > 0);
        Ok((Branch { platform, digest, disk, content, in_use }, parts))
    }

    fn size(&self, parts: &HashSet<String>) -> u64 {
        parts.iter().filter_map(|part| self.sizes.get(part)).sum()
    }
}

/// The bytes of an image that a registry has by this manifest; `None` for what is none of it.
fn content(engine: &Engine, digest: &Digest, image: &ImageRecord) -> Option<u64> {
    let bytes = engine.store().blob(digest).ok()?;
    let manifest: Value = serde_json::from_slice(&bytes).ok()?;
    if manifest["config"]["digest"] != image.id.digest().as_ref() {
        return None;
    }
    let blobs = manifest["layers"].as_array().into_iter().flatten().chain([&manifest["config"]]);
    let blobs: u64 = blobs.filter_map(|blob| blob["size"].as_u64()).sum();
    Some(blobs.saturating_add(bytes.len() as u64))
}

//! What is used on disk, and by whom.

use std::collections::{HashMap, HashSet};

use loment_store::{DiffId, ImageRecord, OtherUsage};
use oci_spec::image::Digest;

use crate::container::Container;
use crate::images::ImageSummary;
use crate::volumes::StoredVolume;
use crate::{Engine, Error};

/// What everything occupies on disk, in bytes.
#[derive(Clone, Debug)]
pub struct DiskUsage {
    /// Each image.
    pub images: Vec<ImageUsage>,
    /// All images together: what they share counts once.
    pub images_size: u64,
    /// What would be free if all images without containers were removed.
    pub images_reclaimable: u64,
    /// What is of no image. It is in neither of the two.
    pub others: OtherUsage,
    /// Each container.
    pub containers: Vec<ContainerUsage>,
    /// Each volume.
    pub volumes: Vec<VolumeUsage>,
}

/// What a volume occupies on disk.
#[derive(Clone, Debug)]
pub struct VolumeUsage {
    /// The volume.
    pub volume: StoredVolume,
    /// Its files, in bytes.
    pub size: u64,
    /// How many containers have it.
    pub links: usize,
}

/// What an image occupies on disk.
#[derive(Clone, Debug)]
pub struct ImageUsage {
    /// The image.
    pub image: ImageSummary,
    /// All of it, in bytes.
    pub size: u64,
    /// What other images have, too.
    pub shared: u64,
}

/// What a container occupies on disk.
#[derive(Clone, Debug)]
pub struct ContainerUsage {
    /// The container.
    pub container: Container,
    /// Its changes to its root file system, in bytes.
    pub size: u64,
}

/// Parts that images are made of, with what each occupies and how many images have it.
#[derive(Default)]
struct Parts {
    sizes: HashMap<String, u64>,
    owners: HashMap<String, usize>,
}

impl Engine {
    /// Counts what everything occupies on disk. Reads directories, not files.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn disk_usage(&self) -> Result<DiskUsage, Error> {
        let images = self.images()?;
        let mut parts = Parts::default();
        let mut of_image = Vec::new();
        for summary in &images {
            let own = self.parts_of(&summary.image.image, &mut parts.sizes)?;
            for part in &own {
                *parts.owners.entry(part.clone()).or_default() += 1;
            }
            of_image.push(own);
        }
        let size = |part: &String| parts.sizes.get(part).copied().unwrap_or_default();
        let shared = |part: &&String| parts.owners.get(*part).is_some_and(|owners| *owners > 1);
        let used: HashSet<&String> = images
            .iter()
            .zip(&of_image)
            .filter(|(image, _)| image.containers > 0)
            .flat_map(|(_, p)| p)
            .collect();
        let records = || images.iter().map(|summary| &summary.image.image);
        let layers = records().flat_map(|image| &image.layers).map(|layer| layer.hex().to_owned()).collect();
        let blobs = records().flat_map(blobs_of).map(Digest::to_string).collect();
        let others = self.store().other_usage(&layers, &blobs)?;
        let images_size = parts.owners.keys().map(size).sum();
        let kept: u64 = used.into_iter().map(size).sum();
        let usage = |(image, own): (ImageSummary, &HashSet<String>)| ImageUsage {
            image,
            size: own.iter().map(size).sum(),
            shared: own.iter().filter(shared).map(size).sum(),
        };
        let images = images.into_iter().zip(&of_image).map(usage).collect();
        let mut containers = Vec::new();
        for container in self.containers()? {
            let size = self.store().rootfs_usage(&container.config.id)?;
            containers.push(ContainerUsage { container, size });
        }
        let mut volumes = Vec::new();
        for volume in self.volumes()? {
            let (size, links) = (self.volume_usage(&volume)?, self.users_of_volume(&volume.name).len());
            volumes.push(VolumeUsage { volume, size, links });
        }
        let images_reclaimable = images_size - kept;
        Ok(DiskUsage { images, images_size, images_reclaimable, others, containers, volumes })
    }

    /// The layers and blobs of an image, by their digests; their sizes are added to `sizes`.
    pub(crate) fn parts_of(
        &self,
        image: &ImageRecord,
        sizes: &mut HashMap<String, u64>,
    ) -> Result<HashSet<String>, Error> {
        let mut own = HashSet::new();
        for layer in &image.layers {
            let name = format!("layer {layer}");
            if !sizes.contains_key(&name) {
                sizes.insert(name.clone(), self.layer_usage(layer)?);
            }
            own.insert(name);
        }
        for blob in blobs_of(image) {
            let name = blob.to_string();
            if !sizes.contains_key(&name) {
                sizes.insert(name.clone(), self.blob_usage(blob)?);
            }
            own.insert(name);
        }
        Ok(own)
    }

    pub(crate) fn layer_usage(&self, layer: &DiffId) -> Result<u64, Error> {
        match self.store().layer(layer)? {
            Some(layer) => Ok(self.store().layer_usage(&layer)?),
            None => Ok(0),
        }
    }

    fn blob_usage(&self, blob: &Digest) -> Result<u64, Error> {
        Ok(self.store().blob_usage(blob)?)
    }
}

/// The documents of an image.
fn blobs_of(image: &ImageRecord) -> impl Iterator<Item = &Digest> {
    image.manifests.iter().chain([image.id.digest()])
}

impl DiskUsage {
    /// What would be free if all volumes that no container has were removed, in bytes.
    pub fn volumes_reclaimable(&self) -> u64 {
        self.volumes.iter().filter(|one| one.links == 0).map(|one| one.size).sum()
    }

    /// What would be free if all stopped containers were removed, in bytes.
    pub fn containers_reclaimable(&self) -> u64 {
        let stopped = self.containers.iter().filter(|one| !one.container.status.is_active());
        stopped.map(|one| one.size).sum()
    }
}

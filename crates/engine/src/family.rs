//! Which image was made from which: one is another's child when it begins with the same layers and the same steps.

use loment_image::ImageConfig;
use loment_store::ImageRecord;

use crate::Engine;
use crate::images::ImageSummary;

impl Engine {
    /// Whether `child` was made from `parent`. What cannot be read is nobody's.
    pub(crate) fn is_child(&self, parent: &ImageRecord, child: &ImageRecord) -> bool {
        if parent.id == child.id || !child.layers.starts_with(&parent.layers) {
            return false;
        }
        let document = |image: &ImageRecord| self.image_document(&image.id).ok();
        match (document(parent), document(child)) {
            (Some(before), Some(after)) => follows(&before, &after),
            _ => false,
        }
    }

    /// The image that `child` was made from last.
    pub fn parent_of<'i>(&self, child: &ImageRecord, all: &'i [ImageSummary]) -> Option<&'i ImageRecord> {
        let candidates = all.iter().filter(|one| !one.list).map(|summary| &summary.image.image);
        let mut parents: Vec<_> = candidates.filter(|parent| self.is_child(parent, child)).collect();
        let steps = |image: &ImageRecord| self.image_document(&image.id).map_or(0, |d| d.history.len());
        parents.sort_by_key(|image| (image.layers.len(), steps(image)));
        parents.pop()
    }

    /// Tells of images without names whether others were made from them.
    pub(crate) fn mark_nameless(&self, all: &mut [ImageSummary]) {
        let nameless = |summary: &ImageSummary| summary.image.names.is_empty();
        let parents: Vec<bool> = all
            .iter()
            .map(|one| {
                let children = || all.iter().filter(|other| !other.list);
                nameless(one) && children().any(|other| self.is_child(&one.image.image, &other.image.image))
            })
            .collect();
        for (summary, parent) in all.iter_mut().zip(parents) {
            (summary.dangling, summary.intermediate) = (nameless(summary) && !parent, parent);
        }
    }
}

fn follows(before: &ImageConfig, after: &ImageConfig) -> bool {
    let (steps, layers) = (before.history.len(), before.diff_ids.len());
    after.history.starts_with(&before.history)
        && (after.history.len(), after.diff_ids.len()) != (steps, layers)
}

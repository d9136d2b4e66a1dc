//! Which image was made from which: one is another's child when it begins with the same layers and the same steps.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use loment_image::ImageConfig;
use loment_store::{ImageId, ImageRecord};

use crate::Engine;
use crate::images::ImageSummary;

/// Who was made from whom, for as long as one looks at a list of images: each configuration is read once, and only when it matters.
#[derive(Debug)]
pub struct Family<'e> {
    engine: &'e Engine,
    documents: RefCell<HashMap<ImageId, Option<Rc<ImageConfig>>>>,
}

impl<'e> Family<'e> {
    /// Nothing is read yet.
    pub fn new(engine: &'e Engine) -> Self {
        Self { engine, documents: RefCell::default() }
    }

    /// The configuration of an image; `None` for what cannot be read.
    pub fn document(&self, id: &ImageId) -> Option<Rc<ImageConfig>> {
        let known = self.documents.borrow().get(id).cloned();
        known.unwrap_or_else(|| {
            let document = self.engine.image_document(id).ok().map(Rc::new);
            self.documents.borrow_mut().insert(id.clone(), document.clone());
            document
        })
    }

    /// Whether `child` was made from `parent`. What cannot be read is nobody's.
    pub(crate) fn is_child(&self, parent: &ImageRecord, child: &ImageRecord) -> bool {
        if parent.id == child.id || !child.layers.starts_with(&parent.layers) {
            return false;
        }
        match (self.document(&parent.id), self.document(&child.id)) {
            (Some(before), Some(after)) => follows(&before, &after),
            _ => false,
        }
    }

    /// The image that `child` was made from last.
    pub fn parent_of<'i>(&self, child: &ImageRecord, all: &'i [ImageSummary]) -> Option<&'i ImageRecord> {
        let candidates = all.iter().filter(|one| !one.list).map(|summary| &summary.image.image);
        let parents = candidates.filter(|parent| self.is_child(parent, child));
        let steps = |image: &ImageRecord| self.document(&image.id).map_or(0, |d| d.history.len());
        parents.max_by_key(|image| (image.layers.len(), steps(image)))
    }

    /// Tells of images without names whether others were made from them.
    pub(crate) fn mark_nameless(&self, all: &mut [ImageSummary]) {
        let nameless = |summary: &ImageSummary| summary.image.names.is_empty();
        let parents: Vec<bool> = all
            .iter()
            .map(|one| {
                let mut children = all.iter().filter(|other| !other.list);
                nameless(one)
                    && !one.list
                    && children.any(|other| self.is_child(&one.image.image, &other.image.image))
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

//! Images that containers are being made of, and what is removed because nothing uses it: neither gets into the other's way.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use loment_image::Progress;
use loment_store::{ImageHold, ImageId, Unheld};

use crate::engine::CONFIG;
use crate::names::ids_with_prefix;
use crate::{Engine, Error, PullPolicy, PullSettings};

/// How often an image is removed before it is used until that is taken for what is wanted.
const MAX_TRIES: u32 = 100;
/// How long who removes an image waits for containers that are being made.
const PATIENCE: Duration = Duration::from_secs(10);

impl Engine {
    /// [`Engine::obtain`], and a hold of the image: nobody removes it for not being used until the hold is dropped.
    ///
    /// # Errors
    /// Those of [`Engine::obtain`].
    pub fn obtain_held(
        &self,
        input: &str,
        policy: PullPolicy,
        settings: &PullSettings,
        progress: &mut dyn Progress,
        announce: impl FnOnce(),
    ) -> Result<((ImageId, String), ImageHold), Error> {
        let mut announce = Some(announce);
        for _ in 0..MAX_TRIES {
            let tell = || announce.take().into_iter().for_each(|announce| announce());
            let found = self.obtain(input, policy, settings, progress, tell)?;
            // Somebody may have removed it since.
            if let Some(hold) = self.store().hold_image(&found.0)? {
                return Ok((found, hold));
            }
        }
        Err(Error::NoImage { name: input.to_owned() })
    }

    /// Keeps others from making a container of an image, after those that are at it; `input` is what it was called.
    ///
    /// # Errors
    /// [`Error::ImageHeld`] when that takes long.
    pub(crate) fn unheld(&self, id: &ImageId, input: &str) -> Result<Unheld, Error> {
        let until = Instant::now() + PATIENCE;
        let held = || Error::ImageHeld { image: input.to_owned() };
        self.store().unheld_image(id, || Instant::now() < until)?.ok_or_else(held)
    }

    /// Containers that say what they are made of.
    pub(crate) fn made(&self) -> HashSet<String> {
        let is_made = |id: &String| self.dir(id).join(CONFIG).exists();
        ids_with_prefix(&self.containers_dir(), "").into_iter().filter(is_made).collect()
    }

    /// Does something to an image that none of the containers `known` has, if none has come since that does, or is about to.
    pub(crate) fn if_unused<T>(
        &self,
        image: &ImageId,
        known: &HashSet<String>,
        remove: impl FnOnce() -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let Some(_unheld) = self.store().unheld_image(image, || false)? else { return Ok(None) };
        let mut new = self.made().into_iter().filter(|id| !known.contains(id));
        if new.any(|id| self.images_of(&id).contains(image)) { Ok(None) } else { remove() }
    }
}

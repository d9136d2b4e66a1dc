//! Images that are about to be used: between the moment in which one is found and the one in which a container says that it has it.

use crate::digest::ImageId;
use crate::disk::{self, NamedLock, SharedLock};
use crate::error::Error;
use crate::store::Store;

/// Keeps an image from those who ask before they remove one. The kernel gives it up when its owner dies.
#[derive(Debug)]
#[must_use]
pub struct ImageHold {
    _lock: SharedLock,
}

/// The right to find that an image is not used, and to remove it: while this is kept nobody gets a hold of it.
#[derive(Debug)]
#[must_use]
pub struct Unheld {
    _lock: NamedLock,
}

impl Store {
    /// Holds an image; `None` when it is not there (any more).
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn hold_image(&self, id: &ImageId) -> Result<Option<ImageHold>, Error> {
        let lock = SharedLock::acquire(self.hold_path(id))?;
        // Whoever has removed it had the lock alone.
        Ok(self.image_path(id).exists().then_some(ImageHold { _lock: lock }))
    }

    /// Waits until nobody holds an image, as long as that is `wanted`; `None` when somebody still does.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn unheld_image(&self, id: &ImageId, wanted: impl Fn() -> bool) -> Result<Option<Unheld>, Error> {
        Ok(NamedLock::acquire_while(self.hold_path(id), wanted)?.map(|lock| Unheld { _lock: lock }))
    }

    fn hold_path(&self, id: &ImageId) -> std::path::PathBuf {
        self.lock_dir().join(disk::escape(&format!("held-{}", id.hex())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Durability;

    #[test]
    fn an_image_that_is_held_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let open =
            || Store::open(&dir.path().join("root"), &dir.path().join("run"), Durability::None).unwrap();
        let (store, other) = (open(), open());
        let id = ImageId::from_hex(&"a".repeat(64)).unwrap();
        assert!(store.hold_image(&id).unwrap().is_none(), "there is none");
        std::fs::write(store.image_path(&id), "{}").unwrap();
        let holds = [store.hold_image(&id), other.hold_image(&id)].map(|hold| hold.unwrap().unwrap());
        assert!(other.unheld_image(&id, || false).unwrap().is_none());
        let [first, second] = holds;
        drop(first);
        assert!(other.unheld_image(&id, || false).unwrap().is_none());
        drop(second);
        let unheld = other.unheld_image(&id, || false).unwrap().unwrap();
        std::thread::scope(|scope| {
            let hold = scope.spawn(|| store.hold_image(&id).unwrap().is_none());
            std::fs::remove_file(store.image_path(&id)).unwrap();
            drop(unheld);
            assert!(hold.join().unwrap(), "it was removed");
        });
        assert_eq!(std::fs::read_dir(store.lock_dir()).unwrap().count(), 0);
    }
}

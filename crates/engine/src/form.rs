//! How layers and the files of containers are kept. New layers are file system images where the kernel mounts those from files, and
//! directories elsewhere. Containers have overlays of them where overlayfs can keep changes, and copies of all files elsewhere, with
//! layers as images, which need nothing of the file system and are only read.

use loment_store::{Form, Store};

use crate::Engine;

/// What is best on a kernel and a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Best {
    Images,
    Directories,
    Copies,
}

impl Best {
    const ALL: [Self; 3] = [Self::Images, Self::Directories, Self::Copies];

    fn word(self) -> &'static str {
        match self {
            Self::Images => "erofs",
            Self::Directories => "dir",
            Self::Copies => "copy",
        }
    }
}

impl Engine {
    /// The same engine, in which new layers are kept like this; `None` is as is best here.
    pub fn with_form(mut self, form: Option<Form>) -> Self {
        self.form = form;
        self
    }

    /// The same engine, in which new containers have copies of all files of their images, or overlays; `None` is as is best here.
    pub fn with_copies(mut self, copies: Option<bool>) -> Self {
        self.copies = copies;
        self
    }

    /// The store, for what brings layers.
    pub(crate) fn store_for_layers(&self) -> Store {
        let form = self.form.unwrap_or_else(|| match self.best() {
            Best::Images | Best::Copies => Form::Erofs,
            Best::Directories => Form::Dir,
        });
        self.store().with_form(form)
    }

    /// The store, for what makes files of images visible.
    pub(crate) fn store_for_files(&self) -> Store {
        self.store().with_copies(self.makes_copies())
    }

    /// Whether new containers have copies of all files of their images.
    pub fn makes_copies(&self) -> bool {
        self.copies.unwrap_or_else(|| self.best() == Best::Copies)
    }

    /// Remembered until the next boot: a kernel that is asked says so in its log.
    fn best(&self) -> Best {
        let known = self.runroot().join("layer-form");
        let file = self.root().join("FORMAT");
        let device = std::fs::metadata(&file).map_or(0, |m| std::os::unix::fs::MetadataExt::dev(&m));
        let uname = rustix::system::uname();
        let place = format!("{} {device}", uname.release().to_string_lossy());
        let found = std::fs::read_to_string(&known).unwrap_or_default();
        let word = found.strip_prefix(&place).map(str::trim);
        if let Some(best) = Best::ALL.into_iter().find(|best| Some(best.word()) == word) {
            return best;
        }
        let keeps =
            self.store().lease().ok().and_then(|lease| loment_monitor::keeps_changes(&lease.staging()));
        let best = if keeps == Some(false) {
            Best::Copies
        } else if loment_sys::process::is_root_of_machine() && loment_monitor::mounts_files(&file) {
            Best::Images
        } else {
            Best::Directories
        };
        // Whoever cannot read it asks again. What a full disk, or a command without rights, does not know is not kept.
        if keeps.is_some() {
            let _ = std::fs::write(&known, format!("{place} {}\n", best.word()));
        }
        best
    }
}

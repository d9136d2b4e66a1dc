//! How new layers are kept: as file system images where the kernel mounts those from files, as directories elsewhere.

use loment_store::{Form, Store};

use crate::Engine;

impl Engine {
    /// The same engine, in which new layers are kept like this; `None` is as is best here.
    pub fn with_form(mut self, form: Option<Form>) -> Self {
        self.form = form;
        self
    }

    /// The store, for what brings layers.
    pub(crate) fn store_for_layers(&self) -> Store {
        self.store().with_form(self.form.unwrap_or_else(|| self.best_form()))
    }

    /// Remembered until the next boot: a kernel that is asked says so in its log.
    fn best_form(&self) -> Form {
        let known = self.runroot().join("layer-form");
        let file = self.root().join("FORMAT");
        let device = std::fs::metadata(&file).map_or(0, |m| std::os::unix::fs::MetadataExt::dev(&m));
        let uname = rustix::system::uname();
        let place = format!("{} {device}", uname.release().to_string_lossy());
        let found = std::fs::read_to_string(&known).unwrap_or_default();
        if let Some(form) = found.strip_prefix(&place) {
            return if form.trim() == "erofs" { Form::Erofs } else { Form::Dir };
        }
        let form = if loment_sys::process::is_root_of_machine() && loment_monitor::mounts_files(&file) {
            Form::Erofs
        } else {
            Form::Dir
        };
        let word = if form == Form::Erofs { "erofs" } else { "dir" };
        // Whoever cannot read it asks again.
        let _ = std::fs::write(&known, format!("{place} {word}\n"));
        form
    }
}

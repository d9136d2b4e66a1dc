//! The configuration of the ecosystem: what the files of containers/image say. Pure functions of text; who calls them
//! finds the files, reads the environment and runs credential helpers.

mod auth;
mod error;
mod matching;
mod registries;
mod short;

pub use auth::{AuthFile, AuthFormat, HelperFor, Login, parse_helper_answer};
pub use error::{ConfError, Position};
pub use registries::{Blocked, Endpoint, File, Mirror, MirrorUse, Registries, RegistryTable, RewriteError};
pub use short::{Alias, ShortNameMode, ShortNames};

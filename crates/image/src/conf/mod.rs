//! The configuration of the ecosystem: what the files of containers/image say. Pure functions of text; who calls them
//! finds the files, reads the environment and runs credential helpers.

mod auth;
mod cdi;
mod containers;
mod error;
mod hooks;
mod layers;
mod matching;
mod policy;
mod registries;
mod short;
mod signatures;
mod storage;
mod strict;

pub use auth::{AuthFile, AuthFormat, HelperFor, Login, parse_helper_answer};
pub use cdi::{DeviceFile, DeviceHook, DeviceMount, DeviceNode, Edits, NetDevice, is_device_name};
pub use containers::{EventsDefaults, TransferDefaults};
pub use error::{ConfError, Position};
pub use hooks::{HookFile, HookProgram, HookSubject};
pub use layers::{Layers, Said};
pub use policy::{Policy, Refused, Requirement, Subject};
pub use registries::{Blocked, Endpoint, File, Mirror, MirrorUse, Registries, RegistryTable, RewriteError};
pub use short::{Alias, ShortNameMode, ShortNames};
pub use signatures::{SignaturePlace, SignaturePlaces};
pub use storage::StorageDefaults;

//! Image references, manifests, transports and pulling.
//!
//! A pull resolves a reference to one image (OCI or Docker schema 2, through any index), verifies every byte
//! against the digests that lead to it, and hands layers to the store while they arrive: one pass, nothing
//! written twice.
//!
//! `conf` reads the ecosystem's configuration, `sync_list` lists of images to be synced: pure functions of the text of
//! their files.
//!
//! What it does not do: find configuration files or read the environment, speak HTTP
//! (`loment-registry` does), unpack (`loment-store` does).
//!
//! ```no_run
//! use loment_image::{Options, Reference, Silent, pull_from_registry};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let store = loment_store::Store::open("/r".as_ref(), "/s".as_ref(), Default::default())?;
//! # let registry: loment_registry::Registry = todo!();
//! let reference: Reference = "127.0.0.1:5000/app:latest".parse()?;
//! let pulled = pull_from_registry(&registry, &store, &reference, &Options::default(), &mut Silent)?;
//! println!("{}", pulled.image.hex());
//! # Ok(())
//! # }
//! ```

mod addresses;
mod archive;
mod beginning;
mod budget;
mod commit;
mod compress;
pub mod conf;
mod config;
mod convert;
mod copy;
mod crew;
mod daemon;
mod describe;
mod destination;
mod dir;
mod ends;
mod error;
mod files;
mod format;
mod fuzz;
mod import;
mod inflate;
mod kept;
mod layer;
mod manifest;
mod marks;
mod member;
mod near;
mod oci;
mod parts;
mod pipe;
mod place;
mod platform;
mod pull;
mod push;
mod push_index;
mod reference;
mod registry;
mod registry_source;
mod resolve;
mod schema1;
mod source;
mod storage;
mod sync_list;
mod yaml;
mod zstd_frames;

pub use addresses::WithAddresses;
pub use archive::{
    Archive, DockerArchive, DockerArchiveEntry, DockerArchiveWriter, DockerImage, OciArchiveEntry,
    OciArchiveWriter, Output, Scratch,
};
pub use commit::{CommitOptions, commit};
pub use compress::{Compression, Compressor, UnknownCompression};
pub use conf::{ShortNameMode, ShortNames};
pub use config::{ContainerDefaults, Healthcheck, History, ImageConfig};
pub use copy::{Copied, CopyOptions, Images, Layers, copy};
pub use daemon::{from_daemon, to_daemon};
pub use describe::{Raw, describe, raw, raw_config};
pub use destination::{Destination, Incoming, Make, Members, Take, Wants};
pub use dir::ImageDir;
pub use error::{Attempt, Error};
pub use format::{Format, UnknownFormat};
pub use fuzz::{read_any_archive, read_any_blob, read_any_manifest};
pub use import::{Change, ChangeError, ImportOptions, import, words};
pub use inflate::decompressed;
pub use near::Near;
pub use oci::{OciLayout, OciLayoutWriter};
pub use parts::Parts;
pub use place::{Place, PlaceError};
pub use platform::{Platform, PlatformError};
pub use pull::{LayerState, Options, Progress, Pulled, Silent, pull, pull_from_registry};
pub use push::{PushOptions, layer_blobs, push};
pub use push_index::{listed, push_index};
pub use reference::{Problem, Reference, ReferenceError};
pub use registry::RegistryDestination;
pub use registry_source::RegistrySource;
pub use source::{Fetched, Source};
pub use storage::StorageImage;
pub use sync_list::{ImproperRange, SyncRegistry, SyncRepository, Versions, Wanted, parse_sync_list};

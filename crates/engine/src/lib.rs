//! Containers and images: the operations behind every front end.
//!
//! [`Engine`] finds things by directory entry and keeps nothing in memory: a front end may come and go between any two
//! calls. What is not here: flags, tables, HTTP; and no supervision, which is the monitor's.
//!
//! ```no_run
//! use loment_engine::{Create, Engine};
//! let engine = Engine::open("/var/lib/loment".as_ref(), "/run/loment".as_ref())?;
//! let rootfs = Some(loment_engine::config::RootfsUse { path: "/".into(), overlay: true });
//! let mut asked = Create::default();
//! asked.config.rootfs = rootfs;
//! asked.config.process.command = vec!["true".into()];
//! let container = engine.create(asked)?;
//! engine.start(&container.config.id, None)?;
//! let status = engine.wait(&container.config.id)?;
//! # Ok::<(), loment_engine::Error>(())
//! ```

mod access;
mod archives;
mod check;
mod cleanup;
mod clone;
pub mod config;
mod container;
mod container_mounts;
mod copy_files;
mod create;
mod ecosystem;
mod engine;
mod error;
mod events;
mod exec;
mod export;
mod family;
mod figures;
mod form;
mod glob;
mod graph;
mod groups;
mod health;
mod image_filter;
mod image_mounts;
mod images;
mod list;
mod list_filter;
mod lists;
mod lock;
mod logs;
mod lookup;
mod names;
mod new_dir;
mod pause;
mod processes;
mod prune;
mod push_list;
mod relabel;
mod remote;
mod remove;
mod rename;
mod secrets;
mod shown;
mod spec;
mod start;
mod stop;
mod transfer;
mod update;
mod usage;
mod view;
mod volumes;

pub use access::Access;
pub use archives::{Import, Loaded, RootTar, SaveFormat, SaveTo, Saved};
pub use check::{Checked, Repaired};
pub use clone::CloneChoices;
pub use container::{Container, Status, UNKNOWN_EXIT};
pub use container_mounts::MountedContainer;
pub use copy_files::{CopyFiles, FilesAt, NewOwner};
pub use create::{Choices, Create, EnvironmentChoices};
pub use ecosystem::{Ecosystem, LoadError, Logins, NoLogins, Settings, Transfers};
pub use engine::Engine;
pub use error::Error;
pub use export::Commit;
pub use family::Family;
pub use figures::Figures;
pub use glob::paths_like;
pub use health::HealthChoices;
pub use image_filter::{ImageFilters, moment};
pub use image_mounts::MountedImage;
pub use images::{ImageSummary, OwnManifest, Prompt, PullPolicy, PullSettings, RemoveImage, Removed};
pub use list::{Listed, Which};
pub use list_filter::ListFilters;
pub use lists::{Described, ImageList};
pub use logs::Log;
pub use loment_monitor::health::{HealthLog, HealthStatus, OnFailure, Report, Startup};
pub use loment_monitor::protocol::{Answer, Connection, Exec, Request, Streams};
pub use processes::{Capabilities, Process};
pub use prune::{ContainerFilters, Pruned};
pub use push_list::{raw_config, raw_manifest};
pub use remote::{delete, search, tags};
pub use secrets::{NewSecret, SecretData, SecretFilters, SecretKeeper, StoredSecret, WhenThere};
pub use spec::capabilities;
pub use start::{Handed, Starting};
pub use stop::{Grace, StopOptions};
pub use transfer::{Side, copy_image};
pub use update::{HealthUpdate, Update};
pub use usage::{ContainerUsage, DiskUsage, ImageUsage, VolumeUsage};
pub use volumes::{ImageVolumes, NewVolume, StoredVolume, VolumeChoices, VolumeFilters, VolumesFrom};

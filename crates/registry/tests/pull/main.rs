//! Against servers: scripted ones for faults (`common`), Debian's docker-registry for the real thing.

mod absence;
mod blobs;
mod common;
mod daemon;
mod files;
mod listing;
mod logins;
mod manifests;
mod objects;
mod proxies;
mod real;
mod recover;
mod referrers;
mod tls;
mod uploads;

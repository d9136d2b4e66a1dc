//! Pulling from servers: scripted ones for faults (`common`), Debian's docker-registry for the real thing.

mod blobs;
mod common;
mod logins;
mod manifests;
mod real;
mod tls;

//! Flags of `run` and `create`: each with what it does to the container, as seen from inside or in the host's /proc.

mod checkpoint;
mod descriptors;
mod environment;
mod identity;
mod net;
mod process;
mod refused;
mod security;
mod systemd;
mod users;

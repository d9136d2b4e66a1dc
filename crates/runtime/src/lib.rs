//! The OCI runtime: creates, starts, enters and deletes containers.

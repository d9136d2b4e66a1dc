//! OCI distribution client behind a blocking API.

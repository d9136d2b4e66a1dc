//! Image references, manifests, transports and copying.

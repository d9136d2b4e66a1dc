//! Layers, images, references and writable layers on disk.

//! The tests of layers once more, for layers that are kept as images. Needs root.
#![expect(
    clippy::duplicate_mod,
    reason = "each of these is also a program of its own, with all that it shares"
)]

#[path = "hostile.rs"]
mod hostile;
#[path = "implied.rs"]
mod implied;
#[path = "store.rs"]
mod store;
#[path = "trees.rs"]
mod trees;
#[path = "unpack.rs"]
mod unpack;
#[path = "whiteouts.rs"]
mod whiteouts;

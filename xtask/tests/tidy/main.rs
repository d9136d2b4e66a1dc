//! What ARCHITECTURE.md says is true of every version: each of its invariants is a test here.

mod code;
mod documents;
mod graph;
mod source;

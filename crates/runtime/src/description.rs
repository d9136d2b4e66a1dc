//! What hooks and other programs are told of a container (runtime-spec, runtime.md, "State").

use std::collections::HashMap;
use std::path::Path;

use oci_spec::runtime::{ContainerState, State, StateBuilder};

/// The version of the specification that states are of.
pub(crate) const SPECIFICATION: &str = "1.3.0";

/// A container's name and place.
#[derive(Clone, Debug)]
pub struct Description<'a> {
    id: &'a str,
    bundle: &'a Path,
    annotations: HashMap<String, String>,
}

impl<'a> Description<'a> {
    /// Of the container `id`, made from `bundle`, which is absolute.
    pub fn new(id: &'a str, bundle: &'a Path, annotations: Option<&HashMap<String, String>>) -> Self {
        Self { id, bundle, annotations: annotations.cloned().unwrap_or_default() }
    }

    /// Its id.
    pub fn id(&self) -> &'a str {
        self.id
    }

    /// Its bundle.
    pub fn bundle(&self) -> &'a Path {
        self.bundle
    }

    /// Its state. `pid` is as the reader's pid namespace shows it; 0 when there is none.
    pub fn state(&self, status: ContainerState, pid: i32) -> State {
        let mut state = StateBuilder::default()
            .version(SPECIFICATION)
            .id(self.id)
            .status(status)
            .bundle(self.bundle)
            .annotations(self.annotations.clone());
        if pid != 0 {
            state = state.pid(pid);
        }
        state.build().expect("every required field is set")
    }

    /// The same as a document.
    pub fn json(&self, status: ContainerState, pid: i32) -> Vec<u8> {
        serde_json::to_vec(&self.state(status, pid)).expect("a state has string keys only")
    }
}

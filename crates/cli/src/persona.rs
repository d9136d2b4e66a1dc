//! What the program's name changes.

/// Defaults that depend on the name the program was called by.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Persona {
    /// Shown in usage and hints.
    pub(crate) name: &'static str,
    /// Value of `container=` in containers.
    pub(crate) flavour: &'static str,
    /// A short image name means Docker Hub, and is shown short.
    pub(crate) docker_hub: bool,
    /// A missing source of a bind mount is made.
    pub(crate) makes_volume_source: bool,
    /// Containers are given what Podman gives them unasked: the host's proxies, its names, and lines for users they do not know.
    pub(crate) completes_containers: bool,
    /// Documents have Docker's form: `/name`, `sha256:` ids.
    pub(crate) docker_documents: bool,
    /// It is about images where they are, and has other flags and words for that.
    pub(crate) remote_only: bool,
}

const LOMENT: Persona = Persona {
    name: "loment",
    flavour: "loment",
    docker_hub: true,
    makes_volume_source: false,
    completes_containers: true,
    docker_documents: false,
    remote_only: false,
};
const PODMAN: Persona = Persona {
    name: "podman",
    flavour: "podman",
    docker_hub: false,
    makes_volume_source: false,
    completes_containers: true,
    docker_documents: false,
    remote_only: false,
};
const DOCKER: Persona = Persona {
    name: "docker",
    flavour: "",
    docker_hub: true,
    makes_volume_source: true,
    completes_containers: false,
    docker_documents: true,
    remote_only: false,
};
const SKOPEO: Persona = Persona {
    name: "skopeo",
    flavour: "",
    docker_hub: true,
    makes_volume_source: false,
    completes_containers: true,
    docker_documents: false,
    remote_only: true,
};

impl Persona {
    /// The persona of a program name.
    pub(crate) fn of(name: &str) -> &'static Self {
        match name {
            "podman" => &PODMAN,
            "docker" => &DOCKER,
            "skopeo" => &SKOPEO,
            _ => &LOMENT,
        }
    }
}

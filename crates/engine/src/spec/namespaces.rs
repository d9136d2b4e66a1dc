//! The namespaces of a container.

use std::path::PathBuf;

use loment_monitor::launch::Join;
use serde_json::{Value, json};

use crate::config::{Config, Namespace, Network};

/// Those that it has of its own, and those at paths. Its monitor adds those of other containers, as they are then.
pub(super) fn all(config: &Config) -> Vec<Value> {
    let mut all = vec![json!({"type": "mount"})];
    for (kind, namespace) in kinds(config) {
        match namespace {
            _ if kind == "user" && config.namespaces.users.is_none() => {}
            Namespace::Own | Namespace::Private | Namespace::None => all.push(json!({"type": kind})),
            Namespace::Path(path) => all.push(json!({"type": kind, "path": path})),
            Namespace::Host | Namespace::Container(_) => {}
        }
    }
    match &config.net.network {
        Network::None => all.push(json!({"type": "network"})),
        Network::Path(path) => all.push(json!({"type": "network", "path": path})),
        Network::Host | Network::Container(_) => {}
    }
    all
}

/// Those that it shares with other containers. `dir` is where a container's records are.
pub(crate) fn joins<'c>(config: &'c Config, dir: impl Fn(&str) -> PathBuf) -> Vec<Join> {
    let network = ("network", config.net.network.container());
    let others = kinds(config).map(|(kind, namespace)| (kind, namespace.container()));
    let join = |(kind, id): (&str, Option<&'c str>)| {
        id.map(|id| Join { kind: kind.to_owned(), container: id.to_owned(), dir: dir(id) })
    };
    others.into_iter().chain([network]).filter_map(join).collect()
}

fn kinds(config: &Config) -> [(&'static str, &Namespace); 5] {
    let n = &config.namespaces;
    [("user", &n.user), ("pid", &n.pid), ("ipc", &n.ipc), ("uts", &n.uts), ("cgroup", &n.cgroup)]
}

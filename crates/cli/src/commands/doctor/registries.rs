//! Configuration files, and registries that they name.

use std::collections::BTreeSet;

use loment_registry::Error as RegistryError;

use super::{Finding, Findings};
use crate::error::{Error, one_line};
use crate::globals::Globals;
use crate::storage_options;
use crate::{containers_conf, ecosystem};

pub(super) fn find(globals: &Globals) -> Vec<Finding> {
    let mut found = Findings::about("registries");
    let chosen = globals.chosen.registries_conf.as_deref();
    let check = |found: &mut Findings, what: &str, result: Result<(), Error>| match result {
        Ok(()) => found.fine(format_args!("{what} can be read")),
        Err(error) => found.problem(one_line(&error), "correct the file: commands that need it fail"),
    };
    check(
        &mut found,
        "containers.conf with what belongs to it",
        containers_conf::read().and_then(|conf| conf.check()),
    );
    check(&mut found, "storage.conf with what belongs to it", storage_options::of_all(globals).map(drop));
    check(&mut found, "policy.json", ecosystem::policy(&globals.chosen.policy).map(drop));
    let places = ecosystem::signatures(globals.chosen.registries_d.as_deref());
    check(&mut found, "the files of registries.d", places.map(drop));
    match ecosystem::registries(chosen) {
        Err(error) => {
            found.problem(one_line(&error), "correct the file: nothing can be pulled or pushed until then")
        }
        Ok(registries) => {
            found.fine("registries.conf with what belongs to it can be read");
            if registries.search().is_empty() {
                found.note(
                    "names of images without a registry are not looked for anywhere",
                    "write whole names such as docker.io/library/busybox, or set unqualified-search-registries in /etc/containers/registries.conf",
                );
            }
        }
    }
    found.all
}

/// Asks the registries that are configured.
pub(super) fn ask(globals: &Globals) -> Vec<Finding> {
    let mut found = Findings::about("registries");
    // What is wrong with the file is said already.
    let Ok(registries) = ecosystem::registries(globals.chosen.registries_conf.as_deref()) else {
        return found.all;
    };
    let hosts = registries.places().filter_map(|place| place.split('/').next());
    let hosts: BTreeSet<&str> = hosts.filter(|host| !host.is_empty() && !host.contains('*')).collect();
    if hosts.is_empty() {
        found.note("no registry is configured that could be asked", "");
    }
    for host in hosts {
        let access = crate::commands::access::access(None, None, None, globals.chosen.clone());
        let advice = "look at the network, the name, the proxy (https_proxy) and certificates (certs.d)";
        match access.and_then(|access| Ok(access.ping(host)?)) {
            Ok(()) => found.fine(format_args!("{host} answers")),
            Err(Error::Engine(loment_engine::Error::Registry(RegistryError::Unauthorized { .. }))) => {
                found.fine(format_args!("{host} answers, and asks for a login"));
            }
            Err(error) => found.problem(format_args!("{host} does not answer: {}", one_line(&error)), advice),
        }
    }
    found.all
}

//! `pod ps`

use clap::{Parser, ValueEnum};
use loment_engine::config::Network;
use loment_engine::{Listed, ListedPod, PodFilters};
use serde_json::{Value, json};

use crate::error::Error;
use crate::globals::Globals;
use crate::output::{Listing, complain, print, table_of};
use crate::template::{LABELS, joined};
use crate::units::ago;

/// List pods
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Show only those with these ctr-ids, ctr-names, ctr-number, ctr-status, id, label, name, status, or made before a time (until)
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Print as json, or with a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show the ids of containers
    #[arg(long)]
    ctr_ids: bool,
    /// Show the names of containers
    #[arg(long)]
    ctr_names: bool,
    /// Show what containers are doing
    #[arg(long)]
    ctr_status: bool,
    /// Show control groups and what is shared
    #[arg(long, alias = "namespace")]
    ns: bool,
    /// Show the newest one
    #[arg(short, long)]
    latest: bool,
    /// Print no headings
    #[arg(short, long)]
    noheading: bool,
    /// Do not shorten ids
    #[arg(long)]
    no_trunc: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Sort by this
    #[arg(long, value_name = "FIELD", default_value = "created")]
    sort: Sort,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sort {
    Created,
    Id,
    Name,
    Number,
    Status,
}

pub(in crate::commands) const HEADERS: [(&str, &str); 16] = [
    ("Id", "POD ID"),
    ("ID", "POD ID"),
    ("Name", "NAME"),
    ("Status", "STATUS"),
    ("Labels", "LABELS"),
    ("NumberOfContainers", "# OF CONTAINERS"),
    ("Created", "CREATED"),
    ("InfraID", "INFRA ID"),
    ("InfraId", "INFRA ID"),
    ("ContainerIds", "IDS"),
    ("ContainerNames", "NAMES"),
    ("ContainerStatuses", "STATUS"),
    ("Cgroup", "CGROUP"),
    ("Namespace", "NAMESPACES"),
    ("Networks", "NETWORKS"),
    ("Restarts", "RESTARTS"),
];

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    if flags.quiet && flags.format.is_some() {
        return Err(Error::Invalid("quiet and format cannot be used together".into()));
    }
    let filters = PodFilters::parse(&flags.filter)?;
    let (mut pods, problems) = globals.engine()?.pods()?;
    for problem in &problems {
        complain(&format!("Warning: {}", crate::error::one_line(problem)));
    }
    if flags.latest {
        pods.truncate(1);
    }
    pods.retain(|pod| filters.keep(pod));
    sort(&mut pods, flags.sort);
    let text = match flags.format.as_deref() {
        Some("json") => format!("{:#}\n", pods.iter().map(document).collect::<Value>()),
        Some(template) => {
            let listing = Listing::parse(template)?;
            let with_map = listing.template.wants(LABELS);
            let record = |pod: &ListedPod| {
                let mut record = row(pod, flags.no_trunc);
                if with_map {
                    record[LABELS] = json!(pod.pod.labels);
                }
                record
            };
            listing.text(&HEADERS, &pods.iter().map(record).collect::<Vec<_>>())?
        }
        None if flags.quiet => {
            pods.iter().map(|pod| format!("{}\n", id(&pod.pod.id, flags.no_trunc))).collect()
        }
        None => listing(flags, &pods)?,
    };
    print(&text).map(|()| 0)
}

fn listing(flags: &Flags, pods: &[ListedPod]) -> Result<String, Error> {
    let mut columns = vec!["Id", "Name", "Status", "Created", "InfraID"];
    columns.extend(flags.ctr_ids.then_some("ContainerIds"));
    columns.extend(flags.ctr_names.then_some("ContainerNames"));
    columns.extend(flags.ctr_status.then_some("ContainerStatuses"));
    if flags.ns {
        columns.extend(["Cgroup", "Namespace"]);
    }
    if !(flags.ctr_ids || flags.ctr_names || flags.ctr_status) {
        columns.push("NumberOfContainers");
    }
    let rows: Vec<Value> = pods.iter().map(|pod| row(pod, flags.no_trunc)).collect();
    table_of(&columns, (!flags.noheading).then_some(&HEADERS[..]), &rows)
}

fn sort(pods: &mut [ListedPod], by: Sort) {
    match by {
        // The newest are first.
        Sort::Created => {}
        Sort::Id => pods.sort_by(|a, b| a.pod.id.cmp(&b.pod.id)),
        Sort::Name => pods.sort_by(|a, b| a.pod.name.cmp(&b.pod.name)),
        Sort::Number => pods.sort_by_key(|pod| pod.containers.len()),
        Sort::Status => pods.sort_by_key(|pod| pod.status.name()),
    }
}

fn id(id: &str, whole: bool) -> &str {
    if whole { id } else { id.get(..12).unwrap_or(id) }
}

fn row(pod: &ListedPod, no_trunc: bool) -> Value {
    let of = |text: &dyn Fn(&Listed) -> String| pod.containers.iter().map(text).collect::<Vec<_>>().join(",");
    let infra = id(pod.pod.infra.as_deref().unwrap_or_default(), no_trunc);
    let restarts: u32 = pod.containers.iter().map(|c| c.state.restarts).sum();
    json!({
        "Id": id(&pod.pod.id, no_trunc), "ID": id(&pod.pod.id, no_trunc), "Name": pod.pod.name,
        "Status": pod.status.name(), "Labels": joined(&pod.pod.labels), "NumberOfContainers": pod.containers.len(),
        "Created": ago(&pod.pod.created), "InfraID": infra, "InfraId": infra,
        "ContainerIds": of(&|c| id(&c.id, no_trunc).to_owned()), "ContainerNames": of(&|c| c.name.clone()),
        "ContainerStatuses": of(&|c| c.status.name().to_owned()), "Cgroup": pod.pod.cgroup.path,
        "Namespace": shared(pod).join(","), "Networks": networks(pod).join(","), "Restarts": restarts.to_string(),
    })
}

fn shared(pod: &ListedPod) -> Vec<&'static str> {
    pod.pod.share.iter().map(|shared| shared.name()).collect()
}

/// There are none yet but the host's, which Podman shows as none, too.
fn networks(pod: &ListedPod) -> Vec<String> {
    let infra = pod.containers.iter().find(|c| c.infra);
    let is_named =
        |network: &&Network| !matches!(network, Network::None | Network::Host | Network::Container(_));
    infra.map(|c| &c.network).filter(is_named).map(Network::name).into_iter().collect()
}

fn document(pod: &ListedPod) -> Value {
    let containers: Vec<Value> = pod.containers.iter().map(|c| {
        json!({"Id": c.id, "Names": c.name, "Status": c.status.name(), "RestartCount": c.state.restarts})
    }).collect();
    json!({
        "Cgroup": pod.pod.cgroup.path, "Containers": containers, "Created": pod.pod.created, "Id": pod.pod.id,
        "InfraId": pod.pod.infra.as_deref().unwrap_or_default(), "Name": pod.pod.name, "Namespace": "",
        "Networks": networks(pod), "Status": pod.status.name(), "Labels": pod.pod.labels,
    })
}

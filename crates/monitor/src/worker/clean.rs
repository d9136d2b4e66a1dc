//! What is done when a container has ended.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use loment_cgroup::systemd::Manager;
use loment_events::{Reporter, What, more};
use loment_logs::Moment;
use loment_runtime::{Description, Hooks};
use loment_sys::wait::Exit;
use oci_spec::runtime::{ContainerState, Hooks as SpecHooks, Spec};
use rustix::mount::{UnmountFlags, unmount};
use serde::Deserialize;

use crate::launch::{DEPENDENTS, Place, Removal};
use crate::mounts::is_mount_point;
use crate::state::{Phase, STOPPING, State};
use crate::{groups, health, now_rfc3339, volumes};

/// How a container ended, and what comes after.
#[derive(Clone, Debug, Default)]
pub struct End {
    /// How its program ended, if one ran.
    pub exit: Option<Exit>,
    /// Why it could not be started.
    pub error: String,
    /// What was seen of its group.
    pub out_of_memory: bool,
    /// It was saved.
    pub checkpointed: bool,
    /// It is started again after this time.
    pub restart: Option<Duration>,
}

/// What a worker ends with where the machine shuts down.
pub(crate) const SHUT_DOWN: i32 = 3;

/// As [`clean_up`], but a container is not started again while the machine shuts down: then this is [`SHUT_DOWN`], and otherwise 0.
/// That is asked here, since whoever knows may take its time.
pub(crate) fn clean_up_unless_shut_down(place: &Place, reporter: &Reporter, end: &End) -> i32 {
    let shuts_down = end.restart.is_some() && Manager::system().shuts_down();
    match shuts_down {
        true => clean_up(place, reporter, &End { restart: None, ..end.clone() }),
        false => clean_up(place, reporter, end),
    }
    if shuts_down { SHUT_DOWN } else { 0 }
}

/// Removes what a container leaves and records its end, or, where it is to be removed, moves it to the tombs. Goes on past
/// failures; the record comes last, so that who sees it sees everything done.
pub fn clean_up(place: &Place, reporter: &Reporter, end: &End) {
    let oom_killed = end.out_of_memory || groups::out_of_memory(place);
    if let Some(exit) = end.exit {
        // Before the record, and before it may be gone: how it ended can always be found.
        let died = reporter.event(What::Died).with(more::EXIT_CODE, exit.status());
        let oom = oom_killed.then(|| reporter.event(What::Oom));
        let unmounts = reporter.of_volumes(What::Unmount);
        reporter.tell(&oom.into_iter().chain([died]).chain(unmounts).collect::<Vec<_>>());
    }
    groups::remove(place);
    if end.exit.is_some() {
        run_poststop(place);
    }
    for mount in &place.mounted {
        // One that stays mounted is unmounted by the next that leaves it.
        let _ = crate::volume_mounts::close(mount, &place.id);
    }
    let restart_at = end.restart.map(|time| Moment::now().after(time).to_string()).unwrap_or_default();
    let removed = end.restart.is_none()
        && !end.checkpointed
        && place.removal.as_ref().is_some_and(|removal| remove(place, removal, reporter));
    if removed {
        reporter.tell(&[reporter.event(What::Remove)]);
    } else {
        let previous = State::load(&place.dir).unwrap_or_default();
        let restored = previous.restored && !end.checkpointed;
        let state = match end.exit {
            Some(exit) => State {
                phase: Phase::Exited,
                finished_at: now_rfc3339(),
                exit_code: exit.status(),
                oom_killed,
                ..previous
            },
            // A start that failed leaves it what it was.
            None if previous.finished_at.is_empty() => State { phase: Phase::Created, ..previous },
            None => State { phase: Phase::Exited, ..previous },
        };
        // The monitor stays: whoever starts the container again waits until that has ended, and all this is done.
        let state = State {
            pid: 0,
            start_time: 0,
            held: BTreeMap::new(),
            initialized: false,
            restart_at,
            error: end.error.clone(),
            checkpointed: end.checkpointed,
            restored,
            ..state
        };
        // What is known of its health stays.
        let _ = std::fs::copy(place.run_dir.join(health::FILE), place.dir.join(health::FILE));
        reporter.tell(&[reporter.event(What::Cleanup)]);
        // Whoever looks next finds a process that is gone, which says the same.
        let _ = state.save(&place.dir, true);
    }
    match end.restart {
        // Whoever finds nobody there any more looks at the record.
        None => drop(std::fs::remove_dir_all(&place.run_dir)),
        Some(_) => drop(std::fs::remove_file(place.run_dir.join(STOPPING))),
    }
}

/// Runs the hooks for a container that has ended. There is nobody to be told what fails, and nothing else depends on it
/// (runtime-spec, runtime.md, lifecycle, 13).
fn run_poststop(place: &Place) {
    #[derive(Deserialize)]
    struct Parts {
        hooks: SpecHooks,
        annotations: Option<HashMap<String, String>>,
    }
    let parts = place.poststop.as_ref().and_then(|parts| Parts::deserialize(parts).ok());
    let Some(Parts { hooks, annotations }) = parts else { return };
    let mut spec = Spec::default();
    spec.set_hooks(Some(hooks)).set_annotations(annotations);
    if let Ok(hooks) = Hooks::of(&spec) {
        let description = Description::new(&place.id, &place.dir, spec.annotations().as_ref());
        hooks.run_poststop(&description.json(ContainerState::Stopped, 0), &place.dir);
    }
}

/// Whether it could be removed. One that others need stays.
fn remove(place: &Place, removal: &Removal, reporter: &Reporter) -> bool {
    if is_needed(place) {
        return false;
    }
    let name = removal.names.join(&removal.name);
    if std::fs::read_link(&name).is_ok_and(|id| id.as_os_str() == place.id.as_str()) {
        let _ = std::fs::remove_file(&name);
    }
    // What is shown of it on the host goes from there, also from under those who look at it.
    if is_mount_point(&removal.shown).unwrap_or_default() {
        let _ = unmount(&removal.shown, UnmountFlags::DETACH);
        // Not gone through: while something is mounted there, its files are the container's.
        if std::fs::remove_dir(&removal.shown).is_ok() {
            let _ = removal.shown.parent().map(std::fs::remove_dir_all);
        }
    }
    let removed = std::fs::rename(&place.dir, removal.tombs.join(&place.id)).is_ok();
    for file in removal.dependents.iter().filter(|_| removed) {
        let _ = std::fs::remove_file(file);
    }
    if removed {
        volumes::leave(place, removal, reporter);
    }
    removed
}

/// Whether there is a container that needs it: see `graph` in the engine.
fn is_needed(place: &Place) -> bool {
    let dependents = std::fs::read_dir(place.dir.join(DEPENDENTS)).into_iter().flatten().flatten();
    dependents.into_iter().any(|file| place.dir.with_file_name(file.file_name()).exists())
}

//! A container's life, of which the front end, the monitor, a worker, the one that cleans up, or all of them are killed before any
//! change they make. Whenever that is: what is said of the container is so, commands work, and nothing is left when it is removed.
//!
//! There are hundreds of such moments for each command: some of them are tried, and all from the N-th on with `LOMENT_ALL_KILLS=N`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use loment_testkit::{Lives, Output, Victim, World};

use crate::{eventually, fixtures};

/// How many moments of each command are tried, unless all are.
const SOME: u64 = 9;
const VICTIMS: [Victim; 3] = [Victim::Itself, Victim::Parent, Victim::All];
/// What a container runs that stays.
pub(super) const STAYS: &str = "trap 'exit 0' TERM; : >/dev/shm/ready; while :; do sleep 0.05; done";

/// A store with an image.
pub(super) struct Life {
    pub(super) world: World,
    pub(super) image: String,
}

/// What is done before somebody is killed, and while.
pub(super) struct Story<'s> {
    /// These succeed.
    pub(super) before: &'s [&'s [&'s str]],
    /// Somebody is killed while this is done.
    pub(super) command: &'s [&'s str],
    /// With these statuses it may end the next time: it may have come to its end.
    pub(super) again: &'s [i32],
}

impl Life {
    pub(super) fn new() -> Self {
        let world = World::in_memory(Path::new(env!("CARGO_BIN_EXE_loment")));
        let registry = fixtures().serve();
        let image = registry.name("busybox:latest");
        world.loment(["pull", "--quiet", "--tls-verify=false", &image]).succeeds();
        Self { world, image }
    }

    fn words<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        arguments.iter().map(|&word| if word == "IMAGE" { self.image.as_str() } else { word }).collect()
    }

    pub(super) fn loment(&self, arguments: &[&str]) -> Output {
        self.world.loment(self.words(arguments))
    }

    /// Tells a story again and again, and kills somebody a little later each time.
    pub(super) fn tell(&self, story: &Story<'_>, holds: &dyn Fn(&str)) {
        let (_, all) = self.once(story, u64::MAX, Victim::Itself, holds);
        assert!(all > 0, "{:?}: too few changes to be all", story.command);
        let begin = std::env::var("LOMENT_ALL_KILLS").ok().map(|begin| begin.parse::<u64>().unwrap_or(1));
        let every = begin.is_some();
        let step = if every { 1 } else { all.div_ceil(SOME) };
        for (turn, victim) in VICTIMS.into_iter().enumerate() {
            // Of some moments others for each victim.
            let first = begin.unwrap_or(1 + step * turn as u64 / 3);
            for nth in (first..).step_by(usize::try_from(step * if every { 1 } else { 3 }).unwrap()) {
                assert!(nth < 4 * all + 100, "{:?} never comes to its end", story.command);
                if self.once(story, nth, victim, holds).0.is_none() {
                    break;
                }
            }
        }
    }

    /// Before which change somebody was killed, and how many there were.
    fn once(
        &self,
        story: &Story<'_>,
        nth: u64,
        victim: Victim,
        holds: &dyn Fn(&str),
    ) -> (Option<String>, u64) {
        let lives = Lives::of(self.world.binary());
        for arguments in story.before {
            lives.run(self.world.command(self.words(arguments))).succeeds();
        }
        lives.arm(nth, victim);
        let killed = lives.run(self.world.command(self.words(story.command)));
        lives.settle();
        let (fired, changes) = lives.disarm();
        let when = format!("{:?}, {victim:?}, {nth}: {fired:?}", story.command);
        if fired.is_none() {
            assert_eq!(killed.code, 0, "{when}: {killed}");
        }
        self.is_so(&when);
        let again = self.loment(story.command);
        assert!(again.code == 0 || story.again.contains(&again.code), "{when}: {again}");
        self.is_so(&when);
        holds(&when);
        self.works(&when);
        self.remove_all(&when);
        assert!(lives.end(), "{when}: processes are left");
        self.nothing_is_left(&lives.ids(), &when);
        (fired, changes)
    }

    /// Of each container its id, what is said of it, and its name.
    fn said(&self) -> Vec<(String, String, String)> {
        let shown = self.loment(&["ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.State}} {{.Names}}"]);
        let row = |line: &str| {
            let [id, state, name] = line.split(' ').map(str::to_owned).collect::<Vec<_>>().try_into().ok()?;
            Some((id, state, name))
        };
        shown.succeeds().lines().filter_map(row).collect()
    }

    /// Waits until what is said of each container is what the kernel says of its group. What was killed takes its time to end.
    fn is_so(&self, when: &str) {
        let is_so = |(id, state, name): &(String, String, String)| {
            // What a pod's members share may be nothing but its monitor's.
            let is_held = || name.ends_with("-infra") && has_processes(&format!("loment-{id}-monitor"));
            let lives = has_processes(&format!("loment-{id}")) || is_held();
            match state.as_str() {
                "running" | "paused" => lives,
                "created" | "exited" => !lives,
                _ => false,
            }
        };
        for _ in 0..1000 {
            if self.said().iter().all(is_so) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let lies: Vec<_> = self.said().into_iter().filter(|said| !is_so(said)).collect();
        assert!(lies.is_empty(), "{when}: {lies:?}");
    }

    /// Each container can be started, entered, stopped and removed.
    fn works(&self, when: &str) {
        for (id, state, _) in self.said() {
            let shown = self.loment(&["inspect", "--format", "{{.IsInfra}} {{.HostConfig.AutoRemove}}", &id]);
            // What a pod's members share is not for programs, and one with --rm may have gone.
            if shown.stdout != "false false\n" {
                continue;
            }
            if state == "paused" {
                self.loment(&["unpause", &id]).succeeds();
            }
            let done = self.loment(&["restart", "-t", "0", &id]);
            assert_eq!(done.code, 0, "{when}: {done}");
            // A program that ends at once may have done so.
            if self.world.inspect("{{.Path}}", &id) == "sh" {
                let done = self.loment(&["exec", &id, "true"]);
                assert_eq!(done.code, 0, "{when}: {done}");
            }
            let done = self.loment(&["stop", "-t", "0", &id]);
            assert_eq!(done.code, 0, "{when}: {done}");
            self.is_so(when);
        }
    }

    fn remove_all(&self, when: &str) {
        for (id, ..) in self.said() {
            // The first may have been with --rm; another may need it.
            let done = self.loment(&["rm", "--force", "--depend", &id]);
            assert!(
                done.code == 0 || done.stderr.contains("no such container") || done.stderr.contains("infra"),
                "{when}: {done}"
            );
        }
        if self.world.root().join("pods").exists() {
            let done = self.loment(&["pod", "rm", "--force", "--all", "--time", "0"]);
            assert_eq!(done.code, 0, "{when}: {done}");
        }
        assert_eq!(self.loment(&["ps", "-a", "-q"]).succeeds(), "", "{when}");
        assert_eq!(self.loment(&["pod", "ps", "-q"]).succeeds(), "", "{when}");
        // Names that somebody was about to give.
        self.loment(&["container", "prune", "--force"]).succeeds();
    }

    fn nothing_is_left(&self, ids: &BTreeSet<String>, when: &str) {
        let root = self.world.root();
        // What became of one that was removed at its end is somebody's work for a minute: see `engine::remove`.
        let tombs: Vec<_> = entries(&root.join("tombs"));
        let is_tomb = |path: &Path| tombs.iter().any(|tomb| tomb.file_name() == path.file_name());
        let below =
            ["root/containers", "root/pods", "root/names", "root/leases", "root/staging", "run/containers"];
        for dir in below.map(|dir| self.world.dir().join(dir)) {
            let left: Vec<_> = entries(&dir).into_iter().filter(|path| !is_tomb(path)).collect();
            assert_eq!(left, Vec::<PathBuf>::new(), "{when}, {tombs:?}, {ids:?}");
        }
        for id in ids {
            let is_swept = tombs.iter().any(|tomb| tomb.ends_with(id));
            for group in groups(id) {
                if is_swept {
                    eventually("its group is empty", || !group.exists() || fs::remove_dir(&group).is_ok());
                }
                assert!(!group.exists(), "{when}: {}", group.display());
            }
        }
        for tomb in tombs {
            let run = self.world.runroot().join("containers").join(tomb.file_name().unwrap());
            let _ = fs::remove_dir_all(run);
            fs::remove_dir_all(tomb).unwrap();
        }
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// The control groups of a container, a monitor or a pod that are there.
fn groups(id: &str) -> Vec<PathBuf> {
    let hierarchies = entries(Path::new("/sys/fs/cgroup")).into_iter().chain(["/sys/fs/cgroup".into()]);
    let names = [format!("loment-{id}"), format!("loment-{id}-monitor"), format!("loment-pod-{id}")];
    let all = hierarchies.flat_map(|hierarchy| names.clone().map(|name| hierarchy.join(name)));
    all.filter(|group| group.exists()).collect()
}

/// Whether there are processes in the group of that name, wherever that is.
fn has_processes(name: &str) -> bool {
    let hierarchies = entries(Path::new("/sys/fs/cgroup"));
    hierarchies.into_iter().any(|hierarchy| {
        let pods = entries(&hierarchy).into_iter().filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("loment-pod-"))
        });
        pods.chain([hierarchy.clone()]).any(|parent| {
            let processes = fs::read_to_string(parent.join(name).join("cgroup.procs"));
            processes.is_ok_and(|text| !text.is_empty())
        })
    })
}

const CREATE: &[&str] = &["create", "--network", "none", "--name", "c", "IMAGE", "sh", "-c", STAYS];
const RUN: &[&str] = &["run", "-d", "--network", "none", "--name", "c", "IMAGE", "sh", "-c", STAYS];

fn tell(before: &[&[&str]], command: &[&str], again: &[i32]) {
    Life::new().tell(&Story { before, command, again }, &|_| ());
}

#[test]
fn create_killed_at_every_change() {
    tell(&[], CREATE, &[125]);
}

#[test]
fn start_killed_at_every_change() {
    tell(&[CREATE], &["start", "c"], &[]);
}

#[test]
fn run_killed_at_every_change() {
    tell(&[], RUN, &[125]);
}

#[test]
fn a_container_that_goes_at_its_end_killed_at_every_change() {
    tell(&[], &["run", "--rm", "--network", "none", "--name", "c", "IMAGE", "true"], &[125]);
}

#[test]
fn stop_killed_at_every_change() {
    tell(&[RUN], &["stop", "c"], &[]);
}

#[test]
fn restart_killed_at_every_change() {
    tell(&[RUN], &["restart", "c"], &[]);
}

#[test]
fn kill_killed_at_every_change() {
    // The second time it does not run.
    tell(&[RUN], &["kill", "c"], &[125]);
}

#[test]
fn rename_killed_at_every_change() {
    let life = Life::new();
    let story = Story { before: &[CREATE], command: &["rename", "c", "web"], again: &[125] };
    life.tell(&story, &|when| {
        assert_eq!(life.loment(&["ps", "-a", "--format", "{{.Names}}"]).succeeds(), "web", "{when}");
        assert!(!life.world.root().join("names/c").is_symlink(), "{when}");
        assert_eq!(life.loment(&["container", "exists", "web"]).code, 0, "{when}");
    });
}

#[test]
fn update_killed_at_every_change() {
    let life = Life::new();
    let command = &["update", "--restart", "on-failure:3", "--pids-limit", "77", "c"];
    life.tell(&Story { before: &[RUN], command, again: &[] }, &|when| {
        let template = "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.PidsLimit}}";
        assert_eq!(life.world.inspect(template, "c"), "on-failure 77", "{when}");
    });
}

#[test]
fn pause_and_unpause_killed_at_every_change() {
    tell(&[RUN], &["pause", "c"], &[125]);
    tell(&[RUN, &["pause", "c"]], &["unpause", "c"], &[125]);
}

#[test]
fn rm_killed_at_every_change() {
    tell(&[CREATE], &["rm", "c"], &[1]);
    tell(&[RUN], &["rm", "--force", "--time", "0", "c"], &[]);
}

#[test]
fn exec_killed_at_every_change() {
    tell(&[RUN], &["exec", "c", "true"], &[125]);
}

#[test]
fn create_with_a_copy_of_all_files_killed_at_every_change() {
    let create = [&["--storage-opt", "loment.files=copy"], CREATE].concat();
    tell(&[], &create, &[125]);
}

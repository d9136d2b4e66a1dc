//! `restore`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use loment_runtime::checkpoint::{Criu, Images, Restore, restore};
use loment_runtime::state::{Id, ROOT};
use loment_runtime::{Bundle, Created, Description, Plan};

use super::super::annotations;
use super::super::arguments::{Argument, Arguments, unknown};
use super::super::container::{check_terminal, record, undo};
use super::super::criu::{self, Flags};
use super::super::descriptors::Receiver;
use super::super::globals::{Runtime, id};
use super::super::hooks;
use super::super::notify;
use super::super::pid_file::PidFile;
use super::super::place::Place;
use super::super::session::Session;
use super::run::{self, Rest};

pub(super) const HELP: &str = "\
Make a container from a checkpoint

Usage: loment-runtime restore [OPTIONS] <ID>

Options:
      --image-path <DIR>             Find the checkpoint in this directory [default: checkpoint]
      --work-path <DIR>              Write restore.log to this directory [default: that of --image-path]
  -b, --bundle <DIR>                 Find config.json in this directory [default: .]
  -d, --detach                       Run in the background
      --keep                         Do not delete the container when its program ends
      --console-socket <SOCKET>      Send the container's terminal to this unix socket
      --pid-file <FILE>              Write the number of the container's process to this file
      --tcp-established              Restore open TCP connections
      --tcp-close                    Close TCP connections that were open
      --ext-unix-sk                  Allow unix sockets that were connected to others outside
      --shell-job                    Allow a terminal of somebody else's
      --file-locks                   Restore file locks
      --link-remap                   Accepted for compatibility: checkpoint decides
      --tcp-skip-in-flight           Accepted for compatibility: checkpoint decides
      --lazy-pages                   Fetch memory when it is needed, from a criu lazy-pages that runs
      --empty-ns <NAMESPACE>         Accepted for compatibility: devices in network namespaces are never restored
      --auto-dedup                   Free memory in the images that has been restored
      --manage-cgroups-mode <MODE>   Choose what is restored of cgroups: soft, full, strict or ignore [default: soft]
      --network-lock <METHOD>        Say by which method connections were kept still: iptables, nftables or skip
      --lsm-profile <TYPE:NAME>      Give processes this profile instead of the one they had
      --lsm-mount-context <CONTEXT>  Give mounts this context instead of the one they had
      --no-pivot                     Accepted for compatibility
      --no-subreaper                 Accepted for compatibility
  -h, --help                         Print help
";

#[derive(Default)]
struct Wanted {
    flags: Flags,
    bundle: Option<PathBuf>,
    detach: bool,
    keep: bool,
    console_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    profile: Option<String>,
    mount_context: Option<String>,
}

impl Wanted {
    fn read<'a>(arguments: &mut Arguments<'a>) -> anyhow::Result<(Self, Vec<&'a str>)> {
        let (mut wanted, mut words) = (Self::default(), Vec::new());
        while let Some(argument) = arguments.next()? {
            let flag = match argument {
                Argument::Word(word) => {
                    words.push(word);
                    continue;
                }
                Argument::Flag(flag) => flag,
            };
            match flag {
                "-b" | "--bundle" => wanted.bundle = Some(arguments.value(flag)?.into()),
                "-d" | "--detach" => wanted.detach = true,
                "--keep" => wanted.keep = true,
                "--console-socket" => wanted.console_socket = Some(arguments.value(flag)?.into()),
                "--pid-file" => wanted.pid_file = Some(arguments.value(flag)?.into()),
                "--lsm-profile" => wanted.profile = Some(arguments.value(flag)?.to_owned()),
                "--lsm-mount-context" => wanted.mount_context = Some(arguments.value(flag)?.to_owned()),
                "--no-pivot" | "--no-subreaper" => {}
                _ if wanted.flags.take(flag, arguments)? => {}
                _ => return unknown(flag),
            }
        }
        Ok((wanted, words))
    }
}

pub(super) fn run(arguments: &mut Arguments<'_>, runtime: &Runtime<'_>) -> anyhow::Result<u8> {
    let (wanted, words) = Wanted::read(arguments)?;
    let id = id(&words)?;
    let session = (!wanted.detach).then(Session::begin).transpose()?;
    let (created, rest) =
        make(runtime, &id, &wanted).with_context(|| format!("restore container {:?}", id.as_str()))?;
    let Some(session) = session else { return Ok(0) };
    let status = session.wait(created, None).map(|exit| exit.status() as u8);
    if wanted.keep && status.is_ok() {
        return status;
    }
    let removed = run::remove(runtime, &id, &rest);
    status.and_then(|status| removed.map(|()| status))
}

/// Makes the container `id`; leaves nothing behind when that fails.
fn make(runtime: &Runtime<'_>, id: &Id, wanted: &Wanted) -> anyhow::Result<(Created, Rest)> {
    let mut bundle = Bundle::load(wanted.bundle.as_deref().unwrap_or(".".as_ref()))?;
    let terminal = bundle.spec.process().as_ref().and_then(|p| p.terminal()).unwrap_or(false);
    check_terminal(terminal, !wanted.detach, wanted.console_socket.as_deref())?;
    annotations::refuse_handler(&bundle)?;
    criu::check(&bundle)?;
    let notified = notify::describe(&mut bundle.spec, &runtime.states.dir(id))?;
    let mut plan = Plan::new(&bundle.spec, &bundle.path)?;
    plan.hooks.inherit(hooks::environment);
    plan.hooks.open_output()?;
    for warning in &bundle.warnings {
        runtime.log.warn(warning);
    }
    let criu = criu::find(runtime)?;
    let images = wanted.flags.open_images()?;
    let console = wanted.console_socket.as_deref().map(|p| Receiver::connect("console", p)).transpose()?;
    let pid_file = wanted.pid_file.as_deref().map(PidFile::new).transpose()?;
    let reservation = runtime.states.reserve(id)?;
    let dir = runtime.states.dir(id);
    let prepare = || -> anyhow::Result<_> {
        runtime.states.keep_config(id, &bundle)?;
        if notified {
            notify::make_place(&dir)?;
        }
        std::fs::create_dir(dir.join(ROOT)).with_context(|| format!("create {ROOT} in {}", dir.display()))?;
        runtime.places.make(&bundle.spec, id, &plan, runtime.log)
    };
    let place = prepare().inspect_err(|_| {
        let _ = runtime.states.abandon(id, &reservation);
    })?;
    let restoring = Restoring {
        runtime,
        id,
        wanted,
        bundle: &bundle,
        plan: &plan,
        place: place.as_ref(),
        console,
        pid_file,
    };
    match restoring.restore(&criu, &images) {
        Ok(created) => {
            // Nothing is mounted on it here.
            let _ = std::fs::remove_dir(dir.join(ROOT));
            Ok((created, Rest { bundle, hooks: plan.hooks, place, class: None }))
        }
        Err(e) => {
            undo(runtime, id, &reservation, place.as_ref());
            let description = Description::new(id.as_str(), &bundle.path, bundle.spec.annotations().as_ref());
            hooks::stopped(&plan.hooks, &description, &bundle.path, runtime.log);
            Err(e)
        }
    }
}

/// A container in the making.
struct Restoring<'a> {
    runtime: &'a Runtime<'a>,
    id: &'a Id,
    wanted: &'a Wanted,
    bundle: &'a Bundle,
    plan: &'a Plan,
    place: Option<&'a Place>,
    console: Option<Receiver>,
    pid_file: Option<PidFile>,
}

impl Restoring<'_> {
    fn restore(&self, criu: &Criu, images: &Images) -> anyhow::Result<Created> {
        let bundle = self.bundle;
        let Some(root) = bundle.spec.root() else { bail!("root is not set in its config.json") };
        let rootfs = bundle.path.join(root.path());
        let rootfs =
            rootfs.canonicalize().with_context(|| format!("open root file system {}", rootfs.display()))?;
        let mount_point = self.runtime.states.dir(self.id).join(ROOT);
        let mount_point =
            mount_point.canonicalize().with_context(|| format!("open {}", mount_point.display()))?;
        let description =
            Description::new(self.id.as_str(), &bundle.path, bundle.spec.annotations().as_ref());
        let group = self.place.map(Place::group);
        let request = Restore {
            criu,
            images,
            options: &self.wanted.flags.options,
            plan: self.plan,
            description: &description,
            rootfs: &rootfs,
            mount_point: &mount_point,
            cgroup: group.as_ref(),
            annotations: &criu::annotations(bundle),
            lsm_profile: self.wanted.profile.as_deref().filter(|p| !p.is_empty()),
            lsm_mount_context: self.wanted.mount_context.as_deref().filter(|c| !c.is_empty()),
        };
        Ok(restore(&request, &mut |created| self.hand_over(created).map_err(Into::into))?)
    }

    /// Writes down that the container is there, and tells whoever waits.
    fn hand_over(&self, created: &Created) -> anyhow::Result<()> {
        let record = record(self.id, self.bundle, created.pid, self.place, None, true);
        self.runtime.states.save(&record)?;
        if let (Some(terminal), Some(console)) = (&created.terminal, &self.console) {
            console.send("/dev/ptmx", terminal)?;
        }
        self.pid_file.as_ref().map_or(Ok(()), |file| file.write(created.pid.as_raw_nonzero().get()))
    }
}

//! `checkpoint`.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use anyhow::{Context, bail};
use loment_runtime::Plan;
use loment_runtime::checkpoint::{Dump, PageServer, checkpoint};
use loment_runtime::state::Status;
use rustix::process::Pid;

use super::super::arguments::{Argument, Arguments, unknown};
use super::super::criu::{self, Flags};
use super::super::found::Found;
use super::super::globals::{Runtime, id};
use super::super::notify;
use super::delete;

pub(super) const HELP: &str = "\
Save the processes of a container in files

Usage: loment-runtime checkpoint [OPTIONS] <ID>

Options:
      --image-path <DIR>            Save them in this directory [default: checkpoint]
      --work-path <DIR>             Write dump.log to this directory [default: that of --image-path]
      --parent-path <DIR>           Save only what changed since this pre-dump; relative to --image-path
      --leave-running               Let the container go on afterwards
      --pre-dump                    Save the memory only, while the container goes on
      --tcp-established             Save open TCP connections
      --tcp-skip-in-flight          Leave out TCP connections that are being made
      --tcp-close                   Leave out open TCP connections: restore has to have this flag, too
      --ext-unix-sk                 Allow unix sockets that are connected to others outside
      --shell-job                   Allow a terminal of somebody else's
      --file-locks                  Save file locks
      --link-remap                  Give open files without a name one where that is possible
      --lazy-pages                  Hand out memory when it is asked for, at the address of --page-server
      --status-fd <NUMBER>          Write a NUL to this descriptor when --lazy-pages can be asked
      --page-server <ADDRESS:PORT>  Send memory to this page server
      --empty-ns <NAMESPACE>        Accepted for compatibility: devices in network namespaces are never saved
      --auto-dedup                  Free memory in older images that is saved anew
      --manage-cgroups-mode <MODE>  Choose what is saved of cgroups: soft, full, strict or ignore [default: soft]
      --network-lock <METHOD>       Keep connections still by this method: iptables, nftables or skip
  -h, --help                        Print help
";

#[derive(Default)]
struct Wanted {
    flags: Flags,
    parent: Option<PathBuf>,
    leave_running: bool,
    pre_dump: bool,
    page_server: Option<PageServer>,
    status: Option<OwnedFd>,
}

pub(super) fn run(arguments: &mut Arguments<'_>, runtime: &Runtime<'_>) -> anyhow::Result<u8> {
    let (mut wanted, mut words) = (Wanted::default(), Vec::new());
    while let Some(argument) = arguments.next()? {
        match argument {
            Argument::Word(word) => words.push(word),
            Argument::Flag(flag) if wanted.flags.take(flag, arguments)? => {}
            Argument::Flag(flag @ "--parent-path") => wanted.parent = Some(arguments.value(flag)?.into()),
            Argument::Flag("--leave-running") => wanted.leave_running = true,
            Argument::Flag("--pre-dump") => wanted.pre_dump = true,
            Argument::Flag(flag @ "--page-server") => {
                wanted.page_server = Some(page_server(arguments.value(flag)?)?);
            }
            Argument::Flag(flag @ "--status-fd") => wanted.status = status(arguments.number(flag)?)?,
            Argument::Flag(flag) => return unknown(flag),
        }
    }
    let found = runtime.find(&id(&words)?)?;
    if ![Status::Running, Status::Paused].contains(&found.status) {
        // runc's words.
        bail!("container {:?} cannot be checkpointed in {} state", found.id(), found.status);
    }
    save(runtime, &found, wanted).with_context(|| format!("checkpoint container {:?}", found.id()))?;
    Ok(0)
}

fn save(runtime: &Runtime<'_>, found: &Found, wanted: Wanted) -> anyhow::Result<()> {
    let mut bundle = runtime.states.config(&found.record)?;
    criu::check(&bundle)?;
    let criu = criu::find(runtime)?;
    notify::describe_again(&mut bundle.spec, &found.dir)?;
    let plan = Plan::new(&bundle.spec, &bundle.path)?;
    let place = found.place()?;
    let group = place.as_ref().map(|p| p.group());
    let images = wanted.flags.create_images()?;
    let dump = Dump {
        criu: &criu,
        images: &images,
        options: &wanted.flags.options,
        plan: &plan,
        pid: Pid::from_raw(found.record.pid).context("its process has no number")?,
        rootfs: &found.record.rootfs,
        cgroup: group.as_ref(),
        annotations: &criu::annotations(&bundle),
        parent: wanted.parent.as_deref().filter(|p| !p.as_os_str().is_empty()),
        leave_running: wanted.leave_running,
        pre_dump: wanted.pre_dump,
        page_server: wanted.page_server,
    };
    let mut status = wanted.status;
    let saved = checkpoint(&dump, &mut || {
        // Whoever waits there may have gone; its end says the same.
        let _ = status.take().map(|fd| File::from(fd).write_all(&[0]));
    });
    if let Err(e) = saved {
        if found.status == Status::Running
            && let Some(group) = &group
        {
            // A program that was killed has not let it go on. It may have no group that can be stopped.
            let _ = group.freeze(false);
        }
        return Err(e.into());
    }
    if wanted.pre_dump || wanted.leave_running {
        return Ok(());
    }
    // As runc and crun do: its files are what there is of it now.
    delete::end(found).and_then(|()| delete::remove(runtime, found)).context("remove it after it was saved")
}

/// An address of version 6 is in brackets.
fn page_server(text: &str) -> anyhow::Result<PageServer> {
    let parts = text.rsplit_once(':').map(|(address, port)| (address.trim_matches(['[', ']']), port));
    let Some((address, port)) = parts.filter(|(address, _)| !address.is_empty()) else {
        // runc's words.
        bail!("invalid --page-server {text:?}: use --page-server ADDRESS:PORT to specify page server");
    };
    let port = port.parse().ok().filter(|p| *p != 0);
    let port = port.with_context(|| format!("invalid port number in --page-server {text:?}"))?;
    Ok(PageServer { address: address.to_owned(), port })
}

/// A descriptor that this program was started with; -1, which is runc's default, for none.
fn status(number: i32) -> anyhow::Result<Option<OwnedFd>> {
    if number == -1 {
        return Ok(None);
    }
    if number < 3 {
        bail!("invalid --status-fd argument {number}: it is below 3");
    }
    let fd = loment_sys::fd::take_inherited(number);
    let fd = fd.with_context(|| format!("invalid --status-fd argument {number}"))?;
    let flags = rustix::fs::fcntl_getfl(&fd).context("look at the descriptor of --status-fd")?;
    if !flags.intersects(rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::RDWR) {
        bail!("invalid --status-fd argument {number}: not writable");
    }
    Ok(Some(fd))
}

//! Flags before the command, read by hand: the command's own parser is built only when it is known.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use loment_engine::Engine;
use loment_engine::config::{GroupManager, Restrictions, SizeLimits};
use loment_image::Platform;
use loment_store::Form;
use rustix::stdio::dup2_stdout;

use crate::arguments::{boolean, unknown_flag};
use crate::containers_conf::{self, ENGINE};
use crate::ecosystem::{Chosen, variable};
use crate::error::{Doing, Error};
use crate::events::{self, EventsBackend};
use crate::hook_programs;
use crate::logins::choose_docker_config;
use crate::persona::Persona;
use crate::{global_flags, log_line, rootless, skopeo_globals, storage_options, users_systemd};

/// What is the same for every command.
#[derive(Debug)]
pub(crate) struct Globals {
    pub(crate) persona: &'static Persona,
    root: PathBuf,
    runroot: PathBuf,
    /// Who makes control groups; `None` is who does best here.
    pub(crate) cgroup_manager: Option<GroupManager>,
    /// How new layers are kept; `None` is as is best here.
    pub(crate) form: Option<Form>,
    /// Whether new containers have copies of all files of their images; `None`: where an overlay cannot keep changes.
    pub(crate) copies: Option<bool>,
    /// What the changes of each new container may occupy.
    pub(crate) size: SizeLimits,
    /// What the root file system of each is not good for; `None` is as configured.
    pub(crate) restrictions: Option<Restrictions>,
    /// Instead of this machine's platform: skopeo's `--override-…`.
    pub(crate) platform: Platform,
    /// What decides instead of what is configured: skopeo's `--policy`, `--registries-conf` and so on.
    pub(crate) chosen: Chosen,
    /// Where events are kept; `None` is as configured.
    pub(crate) events: Option<EventsBackend>,
    /// Where files say which programs are run at stages of containers' lives.
    hook_dirs: Vec<PathBuf>,
    /// Where devices are described.
    cdi_dirs: Vec<PathBuf>,
    /// What every container is given.
    pub(crate) mounts_file: Option<PathBuf>,
    /// The whole command may take so long: skopeo's `--command-timeout`.
    pub(crate) timeout: Option<Duration>,
    /// Where large temporary files are: skopeo's `--tmpdir`.
    pub(crate) tmpdir: Option<PathBuf>,
    /// Where volumes are; `None` is in the store.
    volumes: Option<PathBuf>,
    /// New containers do not outlive a boot.
    transient: bool,
    /// The file that standard output goes to instead.
    out: Option<PathBuf>,
}

/// A flag as it was typed, with what may be its value.
pub(crate) struct Typed<'a> {
    /// With its dashes.
    pub(crate) flag: &'a str,
    inline: Option<&'a str>,
    arguments: &'a [OsString],
    at: &'a mut usize,
}

impl<'a> Typed<'a> {
    /// The one at a position, which moves with the value that is taken.
    pub(crate) fn new(arguments: &'a [OsString], at: &'a mut usize) -> Self {
        let text = arguments.get(*at).and_then(|word| word.to_str()).unwrap_or_default();
        let (flag, inline) = match text.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (text, None),
        };
        Self { flag, inline, arguments, at }
    }

    /// What stands behind it.
    pub(crate) fn value(&mut self) -> Result<String, Error> {
        if let Some(value) = self.inline {
            return Ok(value.to_owned());
        }
        *self.at += 1;
        let next = self.arguments.get(*self.at).and_then(|v| v.to_str()).map(str::to_owned);
        next.ok_or_else(|| Error::Invalid(format!("flag needs an argument: {}", self.flag)))
    }

    /// Whether it is on: alone, it is.
    pub(crate) fn switch(&self) -> Result<bool, Error> {
        let Some(word) = self.inline else { return Ok(true) };
        boolean(word)
            .map_err(|hint| Error::Invalid(format!("invalid value {word:?} for {}: {hint}", self.flag)))
    }
}

/// The arguments with a flag of every command, which is behind the command, before everything; `None` for another one.
pub(crate) fn bring_forward(
    persona: &'static Persona,
    arguments: &[OsString],
    flag: &str,
) -> Option<Vec<OsString>> {
    let known = global_flags::of_every_command(flag)?;
    let is_it = |word: &str| word == flag || word.split('=').next() == Some(flag);
    if persona.docker_documents || persona.remote_only {
        return None;
    }
    let (_, behind) = Globals::parse(persona, arguments).ok()?;
    let before = arguments.len() - behind.len();
    let at = before + behind.iter().position(|word| word.to_str().is_some_and(is_it))?;
    let words = if known.value.is_some() && arguments[at] == *flag { 2 } else { 1 };
    let moved = arguments.get(at..at + words)?;
    Some([moved, &arguments[..at], &arguments[at + words..]].concat())
}

impl Globals {
    /// Reads the flags; the second of what is returned is the command with its own arguments.
    pub(crate) fn parse(
        persona: &'static Persona,
        arguments: &[OsString],
    ) -> Result<(Self, Vec<OsString>), Error> {
        let (root, runroot) = match rootless::is_rootless() {
            true => rootless::directories()?,
            false => ("/var/lib/loment".into(), "/run/loment".into()),
        };
        let mut globals = Self {
            persona,
            root,
            runroot,
            cgroup_manager: None,
            form: None,
            copies: None,
            size: SizeLimits::default(),
            restrictions: None,
            platform: Platform::host(),
            chosen: Chosen::default(),
            events: None,
            hook_dirs: Vec::new(),
            cdi_dirs: Vec::new(),
            mounts_file: None,
            timeout: None,
            tmpdir: None,
            volumes: None,
            transient: false,
            out: None,
        };
        let mut modules = Vec::new();
        let mut i = 0;
        while let Some(argument) = arguments.get(i) {
            let text = argument.to_str().unwrap_or_default();
            if !text.starts_with('-') {
                containers_conf::choose_modules(modules);
                let rest = &arguments[i..];
                let own = if persona.remote_only {
                    skopeo_globals::take_from(&mut globals, rest)?
                } else {
                    rest.to_vec()
                };
                return Ok((globals, own));
            }
            let mut typed = Typed::new(arguments, &mut i);
            let flag = typed.flag;
            match flag {
                "--root" => globals.root = absolute(&typed.value()?)?,
                "--runroot" => globals.runroot = absolute(&typed.value()?)?,
                "--cgroup-manager" => globals.cgroup_manager = Some(cgroup_manager(&typed.value()?)?),
                "--hooks-dir" if !persona.remote_only => globals.hook_dirs.push(absolute(&typed.value()?)?),
                "--cdi-spec-dir" if !persona.remote_only => globals.cdi_dirs.push(absolute(&typed.value()?)?),
                "--default-mounts-file" if !persona.remote_only => {
                    globals.mounts_file = Some(absolute(&typed.value()?)?);
                }
                "--config" if !persona.remote_only => choose_docker_config(absolute(&typed.value()?)?),
                "--transient-store" if !persona.remote_only => globals.transient = typed.switch()?,
                "--volumepath" if !persona.remote_only => globals.volumes = Some(absolute(&typed.value()?)?),
                "--module" if !persona.remote_only => modules.push(typed.value()?),
                "--noout" if !persona.remote_only => {
                    if typed.switch()? {
                        globals.out = Some("/dev/null".into());
                    }
                }
                "--out" if !persona.remote_only => globals.out = Some(typed.value()?.into()),
                "--storage-opt" => storage_options::apply(&typed.value()?, &mut globals)?,
                "--events-backend" => globals.events = Some(EventsBackend::parse(&typed.value()?)?),
                "-v" | "--version" | "-h" | "--help" => return Ok((globals, arguments[i..].to_vec())),
                "--tls-verify" if persona.remote_only => {
                    globals.chosen.tls_verify = Some(typed.switch()?);
                    let words = "'--tls-verify' is deprecated, please set this on the specific subcommand";
                    log_line("warning", words);
                }
                _ if persona.remote_only && skopeo_globals::apply(&mut globals, &mut typed)? => {}
                "-D" => {}
                other => match global_flags::without_effect(other) {
                    Some(known) if known.value.is_some() => drop(typed.value()?),
                    Some(_) => {}
                    None => {
                        let (program, command) = (persona.name, String::new());
                        let message = unknown_flag(other, &[OsString::from(other)]);
                        return Err(Error::Usage { message, program, command });
                    }
                },
            }
            i += 1;
        }
        Ok((globals, Vec::new()))
    }

    /// Which image of several is meant when nothing else is said.
    pub(crate) fn platform_wanted(&self) -> Platform {
        self.platform.clone()
    }

    /// From now on, what goes to standard output goes where that was asked for.
    pub(crate) fn redirect(&self) -> Result<(), Error> {
        let Some(path) = &self.out else { return Ok(()) };
        let file = File::options().write(true).create(true).truncate(true).open(path);
        let file = file.doing(|| format!("open {}, which --out names", path.display()))?;
        dup2_stdout(&file).map_err(std::io::Error::from).doing(|| format!("write to {}", path.display()))
    }

    /// Where there is room for large temporary files (file-hierarchy(7)).
    pub(crate) fn temporary(&self) -> PathBuf {
        let usual = || variable("TMPDIR").map_or("/var/tmp".into(), PathBuf::from);
        self.tmpdir.clone().unwrap_or_else(usual)
    }

    /// Where images and containers are.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where what does not outlive a reboot is.
    pub(crate) fn runroot(&self) -> &Path {
        &self.runroot
    }

    /// Whether new containers do not outlive a boot.
    pub(crate) fn is_transient(&self) -> bool {
        self.transient
    }

    /// Who makes control groups: what the flag says, or containers.conf.
    pub(crate) fn group_manager(&self) -> Result<Option<GroupManager>, Error> {
        match self.cgroup_manager {
            Some(manager) => Ok(Some(manager)),
            None => containers_conf::read()?.text_as(ENGINE, "cgroup_manager", cgroup_manager),
        }
    }

    /// Where files say which programs are run at stages of containers' lives, if that is said.
    pub(crate) fn hook_dirs(&self) -> Result<Option<Vec<PathBuf>>, Error> {
        directories(&self.hook_dirs, "hooks_dir")
    }

    /// Where devices are described, if that is said.
    pub(crate) fn cdi_dirs(&self) -> Result<Option<Vec<PathBuf>>, Error> {
        directories(&self.cdi_dirs, "cdi_spec_dirs")
    }

    /// Opens the engine.
    pub(crate) fn engine(&self) -> Result<Engine, Error> {
        rootless::enter(&self.root, &self.runroot)?;
        let chosen = self.events;
        let events = move |root: &Path| events::settings(chosen).unwrap_or_default().log(root);
        let engine = Engine::open(&self.root, &self.runroot)?
            .with_form(self.form)
            .with_copies(self.copies)
            .with_events(events)
            .with_volumes(self.volumes.clone())
            .with_transience(self.transient)
            .with_users_systemd(users_systemd::addresses)
            .with_hooks(hook_programs::run);
        Ok(match self.persona.docker_documents {
            true => engine.without_stopping(),
            false => engine.with_warnings(|text| log_line("warning", text)),
        })
    }
}

/// Those that flags say, or else containers.conf.
fn directories(flags: &[PathBuf], key: &'static str) -> Result<Option<Vec<PathBuf>>, Error> {
    if !flags.is_empty() {
        return Ok(Some(flags.to_vec()));
    }
    let conf = containers_conf::read()?;
    let directory = |path: &str| match path.starts_with('/') {
        true => Ok(path.into()),
        false => Err(Error::Invalid("use the absolute path of a directory".into())),
    };
    let is_said = conf.list(ENGINE, key)?.is_some();
    Ok(Some(conf.list_as(ENGINE, key, directory)?).filter(|_| is_said))
}

fn cgroup_manager(name: &str) -> Result<GroupManager, Error> {
    let all = [GroupManager::Cgroupfs, GroupManager::Systemd];
    all.into_iter().find(|m| m.name() == name).ok_or_else(|| {
        Error::Invalid(format!("invalid value {name:?} for --cgroup-manager: use systemd or cgroupfs"))
    })
}

/// Container directories are named to the kernel and to monitors: relative paths would change meaning.
fn absolute(path: &str) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|source| Error::Io { operation: format!("find {path}"), source })
}

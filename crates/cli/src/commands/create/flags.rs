//! The flags `run` and `create` share, and how they become a request to the engine.

use std::io::IsTerminal;

use clap::Args;
use loment_engine::config::{Attach, ImageFiles, InitContainer, RootfsUse};
use loment_engine::{Container, Create, Engine, PullPolicy, Streams};
use loment_store::ImageHold;

use super::accounts::AccountsFlags;
use super::devices::DevicesFlags;
use super::environment::EnvironmentFlags;
use super::explain;
use super::files::FilesFlags;
use super::groups::GroupsFlags;
use super::health::HealthFlags;
use super::identity::IdentityFlags;
use super::limits::LimitsFlags;
use super::log::LogFlags;
use super::namespaces::NamespacesFlags;
use super::net::NetFlags;
use super::pod;
use super::process::ProcessFlags;
use super::refused::RefusedFlags;
use super::security::SecurityFlags;
use super::supervision::SupervisionFlags;
use crate::commands::{progress, pull};
use crate::containers_conf::{self, ENGINE};
use crate::error::Error;
use crate::globals::Globals;
use crate::output::{complain, print};

/// What a container is to be.
#[derive(Args, Debug)]
pub(in crate::commands) struct CreateFlags {
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Image, or directory with --rootfs; then the command and its arguments
    // One argument: what follows an image is the command's, also where it looks like one of our flags.
    #[arg(value_names = ["IMAGE", "COMMAND"], num_args = 1.., required = true, trailing_var_arg = true)]
    words: Vec<String>,
    #[command(flatten)]
    identity: IdentityFlags,
    #[command(flatten)]
    process: ProcessFlags,
    #[command(flatten)]
    environment: EnvironmentFlags,
    #[command(flatten)]
    accounts: AccountsFlags,
    #[command(flatten)]
    files: FilesFlags,
    #[command(flatten)]
    devices: DevicesFlags,
    #[command(flatten)]
    namespaces: NamespacesFlags,
    #[command(flatten)]
    net: NetFlags,
    #[command(flatten)]
    refused: RefusedFlags,
    #[command(flatten)]
    limits: LimitsFlags,
    #[command(flatten)]
    groups: GroupsFlags,
    #[command(flatten)]
    security: SecurityFlags,
    #[command(flatten)]
    supervision: SupervisionFlags,
    #[command(flatten)]
    health: HealthFlags,
    #[command(flatten)]
    log: LogFlags,
    #[command(flatten, next_help_heading = "Image")]
    pull: pull::PullFlags,
    /// Print as JSON what the container would be, with the OCI specification and where values come from, and make nothing
    #[arg(long)]
    explain: bool,
    /// Choose when to pull the image: missing, always, never or newer [default: missing]
    #[arg(long = "pull", value_name = "POLICY")]
    policy: Option<String>,
}

impl CreateFlags {
    pub(in crate::commands) fn terminal(&self) -> bool {
        self.process.tty
    }

    /// Whether it is to have one, and standard input, which is none.
    pub(in crate::commands) fn lacks_terminal(&self) -> bool {
        self.process.tty && self.process.interactive && !std::io::stdin().is_terminal()
    }

    /// The streams that a program in the foreground shares with this one.
    pub(in crate::commands) fn streams(&self) -> Result<Streams, Error> {
        let all = Attach { stdin: self.process.interactive, stdout: true, stderr: true };
        let Attach { stdin, stdout, stderr } = self.process.attached()?.unwrap_or(all);
        Ok(Streams { stdin, stdout, stderr })
    }

    /// Creates the container.
    pub(in crate::commands) fn create(
        &self,
        globals: &Globals,
        engine: &Engine,
        init: Option<InitContainer>,
    ) -> Result<Container, Error> {
        let (mut asked, _held) = self.settle(globals, engine, init)?;
        self.net.notice(globals, engine, &asked);
        self.identity.replace(engine)?;
        let mut new_pod = None;
        if let Some(name) = asked.choices.pod.as_deref().and_then(|pod| pod.strip_prefix("new:")) {
            let mut new = pod::new_for(globals, name)?;
            // What it says of the network it says of the pod's.
            if let Some(infra) = &mut new.infra {
                infra.choices.network = asked.choices.network.take();
                infra.choices.hostname = asked.choices.hostname.take();
                new.pod.hostname = infra.choices.hostname.clone().unwrap_or_default();
            }
            asked.choices.pod = Some(new_pod.insert(engine.create_pod(new)?.id).clone());
        }
        let container = engine.create(asked).inspect_err(|_| {
            // It was made for this one.
            if let Some(pod) = &new_pod {
                let _ = engine.remove_pod(pod, true, None);
            }
        })?;
        self.identity.write_id(engine, &container)?;
        Ok(container)
    }

    /// As with --rm.
    pub(in crate::commands) fn remove_at_end(&mut self, image: bool) {
        self.supervision.remove_at_end(image);
    }

    /// Whether nothing is to be made.
    pub(in crate::commands) fn is_explained(&self) -> bool {
        self.explain
    }

    /// Prints what would be created.
    pub(in crate::commands) fn explain(
        &self,
        globals: &Globals,
        engine: &Engine,
        init: Option<InitContainer>,
    ) -> Result<u8, Error> {
        let (mut asked, _held) = self.settle(globals, engine, init)?;
        let new_pod = asked.choices.pod.take_if(|pod| pod.starts_with("new:"));
        let explained = engine.explain(asked, self.identity.is_replacing())?;
        print(&explain::text(&explained, new_pod.as_deref())?)?;
        Ok(0)
    }

    /// What is asked for, with images that are held until that is done.
    fn settle(
        &self,
        globals: &Globals,
        engine: &Engine,
        init: Option<InitContainer>,
    ) -> Result<(Create, Vec<ImageHold>), Error> {
        let policy = self.policy()?;
        // What is only explained is not fetched for it.
        let policy = if self.explain { PullPolicy::Never } else { policy };
        let mut asked = self.request(globals)?;
        if init.is_some() && asked.choices.pod.is_none() {
            return Err(Error::Invalid("--init-ctr is for containers in a pod: add --pod NAME".into()));
        }
        asked.config.init_container = init;
        self.files.secrets(engine, &mut asked)?;
        // Until the container has them.
        let mut held = Vec::new();
        let first = self.words[0].as_str();
        if self.files.rootfs {
            let (path, overlay) = match first.strip_suffix(":O") {
                Some(path) => (path, true),
                None => (first, false),
            };
            asked.config.rootfs = Some(RootfsUse { path: path.into(), overlay });
        } else {
            // Before anything is pulled for it.
            engine.check_size(&asked)?;
            let settings = self.pull.settings(globals)?;
            let quiet = self.pull.quiet;
            let announce = || {
                if !quiet && !matches!(loment_image::Place::parse_if_any(first), Ok(Some(_))) {
                    complain(&format!("Trying to pull {first}..."));
                }
            };
            let mut bars = progress::Bars::new(quiet);
            let (image, hold) = engine.obtain_held(first, policy, &settings, &mut bars, announce)?;
            held.push(hold);
            asked.image = Some(image);
        }
        self.files.images(containers_conf::read()?, &mut asked, |name| {
            let settings = self.pull.settings(globals)?;
            let mut bars = progress::Bars::new(self.pull.quiet);
            let ((id, name), hold) = engine.obtain_held(name, policy, &settings, &mut bars, || ())?;
            held.push(hold);
            Ok(ImageFiles { id, name })
        })?;
        Ok((asked, held))
    }

    fn policy(&self) -> Result<PullPolicy, Error> {
        let policy = |text: &str| pull::policy("pull", text);
        match &self.policy {
            Some(text) => policy(text),
            None => Ok(containers_conf::read()?
                .text_as(ENGINE, "pull_policy", policy)?
                .unwrap_or(PullPolicy::Missing)),
        }
    }

    fn request(&self, globals: &Globals) -> Result<Create, Error> {
        let conf = containers_conf::read()?;
        let mut asked = Create::default();
        self.identity.apply(globals, conf, &mut asked)?;
        asked.config.process.command = self.words[1..].to_vec();
        asked.choices.pod = self.identity.pod()?;
        let in_pod = asked.choices.pod.is_some();
        self.namespaces.apply(conf, in_pod, &mut asked)?;
        self.process.apply(conf, &mut asked)?;
        // Docker makes it.
        asked.config.process.workdir_is_there =
            asked.choices.workdir.is_some() && globals.persona.completes_containers;
        self.namespaces.apply_user(&mut asked);
        self.environment.apply(globals, conf, &mut asked)?;
        self.accounts.apply(globals, &mut asked);
        self.files.apply(globals, conf, &mut asked)?;
        self.security.apply(conf, &mut asked)?;
        self.devices.apply(globals, conf, &mut asked)?;
        asked.config.hook_dirs = globals.hook_dirs()?;
        self.refused.check()?;
        self.net.apply(globals, conf, &mut asked)?;
        self.limits.apply(globals, conf, &mut asked)?;
        self.groups.apply(conf, &mut asked)?;
        self.supervision.apply(globals, conf, &mut asked)?;
        self.health.apply(&mut asked)?;
        asked.choices.quiet_health = conf.switch(ENGINE, "healthcheck_events")? == Some(false);
        self.log.apply(globals, conf, &mut asked)?;
        Ok(asked)
    }
}

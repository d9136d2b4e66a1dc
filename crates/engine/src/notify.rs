//! What a service manager hears of a container: see [`loment_monitor::notify`].

use loment_monitor::launch::Body;
use loment_monitor::notify::{self, DIRECTORY, INSIDE, NotifyMode, SOCKET, VARIABLE};
use serde_json::{Value, json};

use crate::Engine;
use crate::config::Config;
use crate::container::Container;
use crate::start::Handed;

/// The socket of the manager: that of whoever starts the container, else that of who made it.
pub(crate) fn manager<'a>(config: &'a Config, handed: Handed<'a>) -> Option<&'a str> {
    let notify = &config.supervision.notify;
    let recorded = Some(notify.socket.as_str()).filter(|socket| !socket.is_empty());
    handed.manager.or(recorded).filter(|_| notify.mode != NotifyMode::Ignore)
}

/// Shows a container its own socket, if it is to speak itself.
pub(crate) fn show(container: &Container, body: &mut Body<Value>) {
    if container.config.supervision.notify.mode != NotifyMode::Container {
        return;
    }
    body.handed.push(format!("{VARIABLE}={INSIDE}/{SOCKET}"));
    if let Some(mounts) = body.spec["mounts"].as_array_mut() {
        mounts.retain(|mount| mount["destination"] != INSIDE);
        mounts.push(json!({
            "destination": INSIDE, "type": "bind", "source": container.run_dir.join(DIRECTORY),
            "options": ["bind", "rprivate", "nosuid", "noexec", "nodev", "ro"],
        }));
    }
}

impl Engine {
    /// Tells the manager which process is the service now.
    pub(crate) fn tell_manager(&self, config: &Config, handed: Handed<'_>, monitor: i32) {
        let Some(manager) = manager(config, handed) else { return };
        let told = notify::tell(manager, &format!("MAINPID={monitor}"));
        // One that was there when the container was made may be gone.
        if let (Err(error), true) = (told, handed.manager.is_some()) {
            (self.warn)(&format!(
                "the service manager at NOTIFY_SOCKET {manager} cannot be told of the container: {error}"
            ));
        }
    }
}

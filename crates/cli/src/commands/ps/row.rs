//! A container in a list, as templates and tables see it.

use loment_engine::{Listed, Status};
use loment_image::Reference;
use serde_json::{Value, json};

use crate::globals::Globals;
use crate::units::{ago, human_duration, seconds_since};

pub(super) const HEADERS: [(&str, &str); 12] = [
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("ImageID", "IMAGE ID"),
    ("Command", "COMMAND"),
    ("CreatedHuman", "CREATED"),
    ("RunningFor", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Status", "STATUS"),
    ("State", "STATE"),
    ("Ports", "PORTS"),
    ("Names", "NAMES"),
    ("Labels", "LABELS"),
];

pub(super) fn row(globals: &Globals, no_trunc: bool, c: &Listed) -> Value {
    let mut command = c.args.join(" ");
    if !no_trunc && command.chars().count() > 20 {
        command = command.chars().take(17).collect::<String>() + "...";
    }
    if globals.persona.docker_documents {
        command = format!("{command:?}");
    }
    let id = if no_trunc { c.id.as_str() } else { c.short_id() };
    let created = ago(&c.created);
    json!({
        "ID": id, "Id": c.id, "Image": image_name(globals, c),
        "ImageID": c.image.as_ref().map(|i| i.id.hex()).unwrap_or_default(),
        "Command": command, "Args": c.args,
        "Created": c.created, "CreatedAt": c.created, "CreatedHuman": created,
        "RunningFor": created, "Status": status(c), "State": c.status.name(),
        "Ports": "", "Names": c.name, "Labels": c.labels, "Pid": c.state.pid,
        "ExitCode": c.state.exit_code, "StartedAt": c.state.started_at, "AutoRemove": c.supervision.auto_remove,
        "Networks": c.network.name(),
    })
}

pub(super) fn text(row: &Value, field: &str) -> String {
    row[field].as_str().unwrap_or_default().to_owned()
}

fn status(c: &Listed) -> String {
    let since = |moment: &str| human_duration(seconds_since(moment).unwrap_or(0));
    match c.status {
        Status::Created => "Created".into(),
        Status::Running => {
            // Docker's form, which Podman has, too.
            let health = c.health.map(|health| format!(" ({})", health.name())).unwrap_or_default();
            format!("Up {}{health}", since(&c.state.started_at))
        }
        Status::Paused => format!("Up {} (Paused)", since(&c.state.started_at)),
        Status::Restarting => {
            format!("Restarting ({}) {} ago", c.state.exit_code, since(&c.state.finished_at))
        }
        Status::Exited if c.state.finished_at.is_empty() => format!("Exited ({})", c.state.exit_code),
        Status::Exited => format!("Exited ({}) {} ago", c.state.exit_code, since(&c.state.finished_at)),
        Status::Unknown => "Unknown".into(),
    }
}

fn image_name(globals: &Globals, c: &Listed) -> String {
    let Some(image) = &c.image else {
        return c.rootfs.as_ref().map(|r| r.path.display().to_string()).unwrap_or_default();
    };
    match image.name.parse::<Reference>() {
        Ok(reference) if globals.persona.docker_documents => reference.familiar(),
        _ => image.name.clone(),
    }
}

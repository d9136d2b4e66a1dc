//! The configuration of the ecosystem, read as it is. Each world has files of its own below its home directory; what the
//! machine's own say is only added to that.

mod logins;
mod policy;
mod registries;
mod short_names;
mod signatures;
mod storage;

use std::process::Command;

use loment_testkit::World;

/// A file of the world's user: `~/.config/containers/NAME`.
pub(crate) fn configure(world: &World, name: &str, text: &str) -> String {
    let path = world.dir().join("home/.config/containers").join(name);
    std::fs::create_dir_all(path.parent().expect("it has a directory")).expect("make a directory");
    std::fs::write(&path, text).expect("write a file");
    path.display().to_string()
}

/// The command under the name `podman`, with the store of the world.
fn podman(world: &World, arguments: &[&str]) -> Command {
    called(world, "podman", arguments)
}

/// The command under another name, with the store of the world.
fn called(world: &World, name: &str, arguments: &[&str]) -> Command {
    world.named(name, ["--version"]).succeeds();
    let bare = world.command(arguments);
    let mut command = Command::new(world.dir().join(name));
    command.args(bare.get_args()).env_clear();
    command.envs(bare.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(bare.get_current_dir().expect("a world has a directory"));
    command
}

//! `create`.

use super::super::arguments::{Argument, Arguments, unknown};
use super::super::container::{Mode, Options, make};
use super::super::globals::{Runtime, id};

pub(super) const HELP: &str = "\
Create a container that waits for its start

Usage: loment-runtime create [OPTIONS] <ID>

Options:
  -b, --bundle <DIR>             Find config.json in this directory [default: .]
  -f, --config <FILE>            Read this file instead of the bundle's config.json
      --console-socket <SOCKET>  Send the container's terminal to this unix socket
      --pid-file <FILE>          Write the number of the container's process to this file
      --pidfd-socket <SOCKET>    Send a descriptor of the container's process to this unix socket
      --preserve-fds <NUMBER>    Hand on so many descriptors from 3 on [default: 0]
      --no-new-keyring           Keep the caller's session keyring
      --no-pivot                 Enter the root with chroot, for a host whose root is a ramdisk
      --no-subreaper             Accepted for compatibility
  -h, --help                     Print help
";

pub(super) fn run(arguments: &mut Arguments<'_>, runtime: &Runtime<'_>) -> anyhow::Result<u8> {
    let (mut options, mut words) = (Options::default(), Vec::new());
    while let Some(argument) = arguments.next()? {
        match argument {
            Argument::Word(word) => words.push(word),
            Argument::Flag(flag) if options.take(flag, arguments)? => {}
            Argument::Flag(flag) => return unknown(flag),
        }
    }
    make(runtime, &id(&words)?, &options, Mode::Deferred).map(|_| 0)
}

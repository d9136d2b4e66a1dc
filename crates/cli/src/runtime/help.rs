//! What `--help` prints.

const OVERVIEW: &str = "\
Run containers according to the OCI runtime specification

Usage: loment-runtime [OPTIONS] <COMMAND>

Commands:
  create    Create a container that waits for its start
  start     Start a created container
  run       Create and start a container
  exec      Run a command in a running container
  state     Print the state of a container as JSON
  kill      Send a signal to a container
  delete    Remove a stopped container
  list      List containers

Options:
      --root <DIR>           Keep the state of containers here [default: /run/loment-runtime]
      --log <FILE>           Write errors to this file, too
      --log-format <FORMAT>  Choose the format of that file: text or json [default: text]
      --debug                Accepted for compatibility: there are no debug messages
  -h, --help                 Print help
  -v, --version              Print the version
";

const CREATE: &str = "\
Create a container that waits for its start

Usage: loment-runtime create [OPTIONS] <ID>

Options:
  -b, --bundle <DIR>             Find config.json in this directory [default: .]
      --console-socket <SOCKET>  Send the container's terminal to this unix socket
      --pid-file <FILE>          Write the number of the container's process to this file
      --preserve-fds <NUMBER>    Hand on so many descriptors from 3 on [default: 0]
      --no-new-keyring           Keep the caller's session keyring
      --no-subreaper             Accepted for compatibility
  -h, --help                     Print help
";

const RUN: &str = "\
Create and start a container

Usage: loment-runtime run [OPTIONS] <ID>

Options:
  -b, --bundle <DIR>             Find config.json in this directory [default: .]
  -d, --detach                   Run in the background
      --console-socket <SOCKET>  Send the container's terminal to this unix socket
      --pid-file <FILE>          Write the number of the container's process to this file
      --preserve-fds <NUMBER>    Hand on so many descriptors from 3 on [default: 0]
      --no-new-keyring           Keep the caller's session keyring
      --no-subreaper             Accepted for compatibility
  -h, --help                     Print help
";

const EXEC: &str = "\
Run a command in a running container

Usage: loment-runtime exec [OPTIONS] <ID> [COMMAND [ARG...]]

Options:
  -p, --process <FILE>           Read the process from this JSON file instead of COMMAND
  -d, --detach                   Run in the background
      --console-socket <SOCKET>  Send the command's terminal to this unix socket
      --pid-file <FILE>          Write the number of the command's process to this file
      --preserve-fds <NUMBER>    Hand on so many descriptors from 3 on [default: 0]
  -h, --help                     Print help
";

const START: &str = "\
Start a created container

Usage: loment-runtime start <ID>

Options:
  -h, --help  Print help
";

const STATE: &str = "\
Print the state of a container as JSON

Usage: loment-runtime state <ID>

Options:
  -h, --help  Print help
";

const KILL: &str = "\
Send a signal to a container

Usage: loment-runtime kill [OPTIONS] <ID> [SIGNAL]

Arguments:
  [SIGNAL]  Name or number of the signal [default: TERM]

Options:
  -a, --all   Signal every process of the container
  -h, --help  Print help
";

const DELETE: &str = "\
Remove a stopped container

Usage: loment-runtime delete [OPTIONS] <ID>

Options:
  -f, --force  Kill and remove a running one, too; skip one that does not exist
  -h, --help   Print help
";

const LIST: &str = "\
List containers

Usage: loment-runtime list

Options:
  -h, --help  Print help
";

/// The help of `command`, or of all where there is no such command.
pub(super) fn of(command: &str) -> &'static str {
    match command {
        "create" => CREATE,
        "run" => RUN,
        "exec" => EXEC,
        "start" => START,
        "state" => STATE,
        "kill" => KILL,
        "delete" => DELETE,
        "list" => LIST,
        _ => OVERVIEW,
    }
}

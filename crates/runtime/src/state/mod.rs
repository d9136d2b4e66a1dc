//! What the runtime's own command line remembers between its commands: a directory per container.
//!
//! ```text
//! ROOT/ID/            taken by mkdir(2); locked (flock(2)) by whoever makes or removes the container
//!     config.json     as it was when the container was made: later edits of the bundle's have no effect
//!     state.json      the record: there once the first process is
//!     start.sock      while the container waits for the order to start
//!     criu-root/      the place of its root file system while it is restored: a directory, mounted on for CRIU alone
//!     notify/         where its service manager's readiness messages go through, if it has one
//! ```
//!
//! A directory without a record and without a lock is what a creator left that was killed: it is taken over. A record that
//! is damaged, or another program's or version's, is never changed.

mod directory;
mod id;
mod record;
#[cfg(test)]
mod tests;

pub use directory::{Reservation, States};
pub use id::Id;
pub use record::{Record, Status, VERSION, process_start_time};

const CONFIG: &str = "config.json";
const STATE: &str = "state.json";
/// The name of the socket on which a created container waits for the order to start.
pub const START: &str = "start.sock";
/// The directory on which CRIU has the root file system of a container that is restored.
pub const ROOT: &str = "criu-root";
/// The directory of the socket for readiness messages.
pub const NOTIFY: &str = "notify";

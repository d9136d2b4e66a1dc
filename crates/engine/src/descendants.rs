//! Processes by their parents: where there are no control groups, that is what says whose they are.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use crate::Engine;
use crate::container::Container;

/// All processes below one, and that one.
pub(crate) fn tree_of(root: i32) -> io::Result<Vec<i32>> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that has ended in the meantime has no parent.
        if let Some(parent) = parent_of(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let (mut all, mut next) = (vec![root], 0);
    while let Some(pid) = all.get(next) {
        all.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    Ok(all)
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may contain anything.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// The processes of a container without a control group: what its monitor has below it, or else its first process, in the pid
/// namespace of that.
pub(crate) fn of_container(container: &Container) -> io::Result<Vec<i32>> {
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid"));
    let first = container.state.pid;
    let own = namespace(first)?;
    let monitor = container.open_monitor().map(|_| container.state.monitor_pid);
    let mut all = tree_of(monitor.unwrap_or(first))?;
    all.retain(|pid| Some(*pid) != monitor && namespace(*pid).is_ok_and(|other| other == own));
    Ok(all)
}

impl Engine {
    /// Kills the monitor of a container without a control group, whatever its records say, and all that is below it.
    pub(crate) fn kill_tree(&self, id: &str) -> io::Result<()> {
        let run_dir = self.run_dir(id);
        // While it is open its number is that process's.
        let Ok(connection) = loment_monitor::protocol::Connection::open(Path::new(&run_dir)) else {
            return Ok(());
        };
        let monitor = connection.peer()?;
        // One that is in another pid namespace has no number here.
        let all = if monitor > 1 { tree_of(monitor)? } else { Vec::new() };
        for pid in all {
            let _ = loment_sys::process::kill(pid, 9);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_of_a_child_is_below() {
        let mut shell = std::process::Command::new("sh");
        let mut shell = shell
            .args(["-c", "sleep 1000 & echo; wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0];
        io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut line).unwrap();
        let pid = shell.id().cast_signed();
        let (below, all) = (tree_of(pid).unwrap(), tree_of(std::process::id().cast_signed()).unwrap());
        assert!(
            below.len() == 2 && below[0] == pid && below.iter().all(|pid| all.contains(pid)),
            "{below:?}"
        );
        below.iter().rev().for_each(|pid| loment_sys::process::kill(*pid, 9).unwrap());
        shell.wait().unwrap();
    }
}

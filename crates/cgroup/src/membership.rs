//! Which groups a process is in: cgroups(7), "/proc/[pid]/cgroup".

use crate::{CgroupPath, Error};

/// One line for each hierarchy.
#[derive(Debug)]
pub(crate) struct Memberships {
    pid: i32,
    text: String,
}

impl Memberships {
    pub(crate) fn of(pid: i32) -> Result<Self, Error> {
        let path = format!("/proc/{pid}/cgroup");
        let text = std::fs::read_to_string(&path).map_err(|source| Error::Io {
            operation: "find the",
            path: format!("of process {pid}"),
            source,
        })?;
        Ok(Self { pid, text })
    }

    /// The group without its leading slash, in the v2 hierarchy.
    pub(crate) fn of_v2(&self) -> Option<&str> {
        self.text.lines().find_map(|l| l.strip_prefix("0::/"))
    }

    /// In the v1 hierarchy of a controller, or in the named one that is mounted by that name.
    pub(crate) fn of_v1(&self, controller: &str) -> Option<&str> {
        self.text.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (names, path) = (fields.next()?, fields.next()?);
            let has = names.split(',').any(|n| n.strip_prefix("name=").unwrap_or(n) == controller);
            has.then(|| path.strip_prefix('/')).flatten()
        })
    }

    /// Sees that it is where systemd was to put it, in the hierarchy that systemd tracks processes by.
    pub(crate) fn expect(&self, path: &CgroupPath) -> Result<(), Error> {
        let tracked = [self.of_v1("systemd"), self.of_v2()];
        if tracked.contains(&Some(path.as_str())) {
            return Ok(());
        }
        let found = tracked.into_iter().flatten().next().unwrap_or_default().to_owned();
        Err(Error::Misplaced { pid: self.pid, found, path: path.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_in_each_generation() {
        let of = |text: &str| Memberships { pid: 7, text: text.to_owned() };
        let v2 = of("0::/a.slice/b.scope\n");
        assert_eq!(v2.of_v2(), Some("a.slice/b.scope"));
        assert_eq!(v2.of_v1("cpu"), None);
        v2.expect(&CgroupPath::new("a.slice/b.scope").unwrap()).unwrap();
        v2.expect(&CgroupPath::new("a.slice").unwrap()).unwrap_err();
        let hybrid = of("3:cpu,cpuacct:/x:y\n2:cpuset:/\n1:name=systemd:/s\n0::/s\n");
        assert_eq!(hybrid.of_v1("cpuacct"), Some("x:y"));
        assert_eq!(hybrid.of_v1("cpuset"), Some(""));
        hybrid.expect(&CgroupPath::new("s").unwrap()).unwrap();
    }
}

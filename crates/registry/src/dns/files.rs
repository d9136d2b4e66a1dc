//! The text of `/etc/hosts` (hosts(5)) and `/etc/resolv.conf` (resolv.conf(5)).

use std::net::{IpAddr, Ipv4Addr};

/// Name servers used, as in glibc (MAXNS).
const MAX_SERVERS: usize = 3;
/// Search domains used; glibc has no limit since 2.26.
const MAX_SEARCH: usize = 16;
/// Largest `ndots`, as in glibc (RES_MAXNDOTS).
const MAX_NDOTS: usize = 15;

/// How names are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResolvConf {
    pub(crate) servers: Vec<IpAddr>,
    pub(crate) search: Vec<String>,
    pub(crate) ndots: usize,
}

/// Reads a resolv.conf; whatever is not understood is passed over, as the C library does.
pub(crate) fn resolv_conf(text: &str) -> ResolvConf {
    let mut conf = ResolvConf { servers: Vec::new(), search: Vec::new(), ndots: 1 };
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("nameserver") if conf.servers.len() < MAX_SERVERS => {
                conf.servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()));
            }
            // The last of them counts.
            Some("search" | "domain") => {
                conf.search =
                    words.take(MAX_SEARCH).map(|word| word.trim_end_matches('.').to_owned()).collect();
            }
            Some("options") => {
                let ndots = words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok()).next_back();
                conf.ndots = ndots.map_or(conf.ndots, |ndots: usize| ndots.min(MAX_NDOTS));
            }
            _ => {}
        }
    }
    conf.search.retain(|domain| !domain.is_empty());
    if conf.servers.is_empty() {
        conf.servers.push(Ipv4Addr::LOCALHOST.into());
    }
    conf
}

impl ResolvConf {
    /// The absolute names to ask for, in order. A final dot keeps a name as it is.
    pub(crate) fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(absolute) = name.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let dots = name.matches('.').count();
        let searched = self.search.iter().map(|domain| format!("{name}.{domain}"));
        if dots >= self.ndots {
            std::iter::once(name.to_owned()).chain(searched).collect()
        } else {
            searched.chain(std::iter::once(name.to_owned())).collect()
        }
    }
}

/// All addresses a hosts file gives `name`, in its order.
pub(crate) fn hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
        if words.any(|word| word.eq_ignore_ascii_case(name)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read() {
        let conf = resolv_conf(
            "# made by hand\nnameserver 192.0.2.1 # first\nnameserver 2001:db8::1\nnameserver nonsense\n\
             nameserver 192.0.2.3\nnameserver 192.0.2.4\ndomain old.example\nsearch a.example b.example.\n\
             options edns0 ndots:2 timeout:1\n; end\nsortlist x\n",
        );
        assert_eq!(
            conf.servers.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["192.0.2.1", "2001:db8::1", "192.0.2.3"]
        );
        assert_eq!(conf.search, ["a.example", "b.example"]);
        assert_eq!(conf.ndots, 2);
        assert_eq!(resolv_conf("options ndots:99999999999999999999\noptions ndots:99").ndots, 15);
        assert_eq!(resolv_conf("").servers, [IpAddr::from(Ipv4Addr::LOCALHOST)]);
    }

    #[test]
    fn search_domains_depend_on_dots() {
        let conf = resolv_conf("search x.example y.example\noptions ndots:2");
        assert_eq!(conf.candidates("reg"), ["reg.x.example", "reg.y.example", "reg"]);
        assert_eq!(conf.candidates("reg.a"), ["reg.a.x.example", "reg.a.y.example", "reg.a"]);
        assert_eq!(conf.candidates("reg.a.b"), ["reg.a.b", "reg.a.b.x.example", "reg.a.b.y.example"]);
        assert_eq!(conf.candidates("reg.a."), ["reg.a"]);
    }

    #[test]
    fn hosts_are_found() {
        let text = "127.0.0.1 localhost\n::1\tlocalhost ip6-localhost # v6\n192.0.2.1 Reg.example reg\n#192.0.2.2 reg\nbad reg\n";
        let found = |name| hosts(text, name).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found("localhost"), ["127.0.0.1", "::1"]);
        assert_eq!(found("REG.example."), ["192.0.2.1"]);
        assert_eq!(found("reg"), ["192.0.2.1"]);
        assert!(found("v6").is_empty());
        assert!(found("127.0.0.1").is_empty());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "\\PC{0,80}", name in "\\PC{0,20}") {
            let _ = resolv_conf(&text).candidates(&name);
            let _ = hosts(&text, &name);
        }
    }
}

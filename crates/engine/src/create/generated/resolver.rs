//! A container's /etc/resolv.conf.

use crate::config::Resolver;

/// The host's, with what the user said in place of what it says about the same.
pub(super) fn text(host: &str, asked: &Resolver) -> String {
    if !asked.any() {
        return host.to_owned();
    }
    let said = |word: &str| -> Vec<&str> {
        let lines = host.lines().map(str::trim_start).filter_map(|line| line.split_once(char::is_whitespace));
        lines.filter(|(first, _)| *first == word).map(|(_, rest)| rest.trim()).collect()
    };
    let chosen = |mine: &[String], hosts: Vec<&str>| -> Vec<String> {
        if mine.is_empty() { hosts.into_iter().map(str::to_owned).collect() } else { mine.to_vec() }
    };
    // Of several lines the last counts (resolv.conf(5)).
    let search = chosen(&asked.search, said("search").pop().into_iter().collect());
    let search = if search == ["."] { Vec::new() } else { search };
    let servers = chosen(&asked.servers, said("nameserver"));
    let options = chosen(&asked.options, said("options"));
    let line = |word: &str, words: &[String]| match words {
        [] => String::new(),
        words => format!("{word} {}\n", words.join(" ")),
    };
    let servers: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    line("search", &search) + &servers + &line("options", &options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_replaces_what_the_host_says() {
        let host = "# x\nsearch old\n search a b\nnameserver 1.1.1.1\nnameserver ::1\noptions ndots:2\noptions rotate\n";
        assert_eq!(text(host, &Resolver::default()), host);
        let list = |words: &[&str]| -> Vec<String> { words.iter().map(|&w| w.to_owned()).collect() };
        let servers = Resolver { servers: list(&["9.9.9.9"]), ..Resolver::default() };
        assert_eq!(text(host, &servers), "search a b\nnameserver 9.9.9.9\noptions ndots:2 rotate\n");
        let rest =
            Resolver { search: list(&["."]), options: list(&["debug", "edns0"]), ..Resolver::default() };
        assert_eq!(text(host, &rest), "nameserver 1.1.1.1\nnameserver ::1\noptions debug edns0\n");
        assert_eq!(text("", &servers), "nameserver 9.9.9.9\n");
    }
}

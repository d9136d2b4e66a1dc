//! What docs/compatibility.md calls refused is, and says why.

use crate::world;

const DOCUMENT: &str = include_str!("../../../docs/compatibility.md");

/// The rows of a table: the words in back-quotes of its first two cells, and the last cell.
fn rows(heading: &str) -> Vec<(Vec<&str>, Vec<&str>, &str)> {
    let part = DOCUMENT.split(heading).nth(1).expect("the table is there");
    let lines = part.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let quoted = |cell: &'static str| cell.split('`').skip(1).step_by(2).collect::<Vec<_>>();
    let row = |line: &'static str| {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").collect();
        (quoted(cells[0]), quoted(cells[1]), cells[2].trim())
    };
    lines.take_while(|line| line.starts_with("| ")).map(row).collect()
}

#[test]
fn flags_that_are_called_refused_are() {
    let world = world();
    let mut tried = 0;
    for (flags, commands, _) in rows("Why flags are refused:") {
        // None is what stands before a command.
        let commands = if commands.is_empty() { vec![""] } else { commands };
        for (flag, command) in
            flags.iter().flat_map(|flag| commands.iter().map(move |command| (flag, command)))
        {
            // One of these is what it takes.
            let spelled = [vec![flag.to_string()], vec![format!("{flag}=x")]];
            let words = [&[][..], &["x"], &["x", "y"]];
            let says_so =
                spelled.iter().flat_map(|flag| words.map(|words| (flag, words))).any(|(flag, words)| {
                    let command = command.split(' ').filter(|word| !word.is_empty()).map(str::to_owned);
                    let words = words.iter().map(|word| (*word).to_owned());
                    let output = world.loment(command.chain(flag.iter().cloned()).chain(words));
                    assert_ne!(output.code, 0, "{output}");
                    let name = flag[0].split('=').next().expect("a flag has a name");
                    output.stderr.contains(&format!("{name} "))
                        || output.stderr.contains(&format!("unknown flag: {name}"))
                });
            assert!(says_so, "{command} {flag}");
            tried += 1;
        }
    }
    assert!(tried > 40, "{tried}");
}

#[test]
fn commands_that_are_called_absent_are() {
    let world = world();
    let all = rows("Commands that are not there:");
    let names: Vec<&str> = all.iter().flat_map(|(names, ..)| names).copied().collect();
    assert!(names.len() > 100, "{}", names.len());
    for name in names {
        let output = world.loment(name.split(' '));
        output.fails(125);
        assert!(
            ["unrecognized command", "is refused", "unknown", "missing command"]
                .iter()
                .any(|w| output.stderr.contains(w)),
            "{output}"
        );
    }
    assert!(!world.root().exists());
}

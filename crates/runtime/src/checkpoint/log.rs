//! What CRIU says went wrong.

/// How many errors of a log are shown, from its end: first of what can be done without, then of the cause, then of what that
/// caused.
const SHOWN: usize = 4;
/// Of a log, what is looked at, in bytes: the end.
pub(super) const READ: usize = 64 * 1024;

/// The errors in a log, without times, processes and places in CRIU's source, as the end of a sentence: `: REASON; REASON`,
/// or nothing.
pub(super) fn reasons(log: &[u8]) -> String {
    let log = String::from_utf8_lossy(log);
    let mut seen: Vec<&str> = Vec::new();
    for text in log.lines().filter_map(reason) {
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    // What failed for other reasons than CRIU's own: it does not start.
    if seen.is_empty() {
        seen.extend(log.lines().map(str::trim).rfind(|l| !l.is_empty() && !is_logged(l)));
    }
    // The last words say only that it failed.
    seen.retain(|text| !is_last(text));
    seen.drain(..seen.len().saturating_sub(SHOWN));
    let shown: String = seen
        .join("; ")
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect();
    if shown.is_empty() { shown } else { format!(": {shown}") }
}

/// `(00.123456)  pid: Error (file.c:123): TEXT`, with or without the time and the process.
fn reason(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("Error (")?;
    let (_, text) = rest.split_once("):")?;
    let text = text.trim();
    // It becomes a part of a sentence.
    Some(if is_last(text) { text } else { text.trim_end_matches('.') }).filter(|t| !t.is_empty())
}

/// Whether this says only that all has failed.
fn is_last(text: &str) -> bool {
    text.ends_with("FAILED.")
}

/// A line of CRIU's own that is no error.
fn is_logged(line: &str) -> bool {
    line.starts_with('(') || line.starts_with("Warn")
}

#[cfg(test)]
mod tests {
    use super::reasons;

    #[test]
    fn causes_are_shown_and_consequences_are_not() {
        let log = b"(00.000050) Version: 3.17.1 (gitid 0)\n\
            (00.002110) Error (criu/vdso.c:698): vdso: Unexpected rt vDSO area bounds\n\
            (00.002113)      7: Error (criu/vdso.c:698): vdso: Unexpected rt vDSO area bounds\n\
            (00.002114) Error (criu/x.c:1): second\x1b[1m.\n\
            (00.002120) Error (criu/cr-dump.c:2098): Dumping FAILED.\n";
        assert_eq!(reasons(log), ": vdso: Unexpected rt vDSO area bounds; second\\u{1b}[1m");
    }

    #[test]
    fn of_other_programs_the_last_line_is_shown() {
        assert_eq!(reasons(b"usage\nswrk: unknown word\n\n"), ": swrk: unknown word");
        assert_eq!(reasons(b""), "");
        assert_eq!(reasons(b"(00.01) Info\nWarn  (criu/x.c:1): y\n"), "");
    }
}

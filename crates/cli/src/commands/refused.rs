//! Commands of the peers that are refused by their names, with the reason.

use crate::error::Error;
use crate::globals::Globals;

/// The group, empty for skopeo's own commands; the word; and why.
const REFUSED: [(&str, &str, &str); 8] = [
    ("", "experimental-image-proxy", "it serves a protocol of skopeo's own: call skopeo for it"),
    ("", "generate-sigstore-key", SIGNING),
    ("", "standalone-sign", SIGNING),
    ("", "standalone-verify", VERIFYING),
    ("", "untrusted-signature-dump-without-verification", VERIFYING),
    ("image", "scp", "images are not copied over SSH yet: use save and load, or a registry"),
    ("image", "sign", SIGNING),
    ("image", "trust", "policies are read, and not written or shown: edit /etc/containers/policy.json"),
];
const SIGNING: &str = "images are not signed yet, and nothing was written: call skopeo or podman for it";
const VERIFYING: &str =
    "signatures of images are not read yet, so this one is not verified: call skopeo for it";

/// All of them by their whole names, with the reason.
pub(crate) fn all() -> Vec<(String, &'static str)> {
    let name = |group: &str, word: &str| format!("{group} {word}").trim_start().to_owned();
    REFUSED.iter().map(|(group, word, reason)| (name(group, word), *reason)).collect()
}

/// Refuses a command.
pub(super) fn check(globals: &Globals, group: &str, word: &str) -> Result<(), Error> {
    let same = |refused: &&(&str, &str, &str)| refused.0 == group && refused.1 == word;
    let Some((_, _, reason)) = REFUSED.iter().find(same) else { return Ok(()) };
    let name = [globals.persona.name, group, word].join(" ").replace("  ", " ");
    Err(Error::Invalid(format!("`{name}` is refused: {reason}")))
}

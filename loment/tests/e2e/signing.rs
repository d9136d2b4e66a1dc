//! Signing and encrypting images is asked for in vain, and nobody is left to believe that it was done.

use crate::world;

#[test]
fn who_wants_images_signed_or_encrypted_is_told_before_anything_moves() {
    let world = world();
    // Nobody listens there: it is not even asked.
    let (from, to) = ("docker://127.0.0.1:9/a:1", "docker://127.0.0.1:9/b:1");
    let dir = format!("dir:{}", world.path("there").display());
    for command in [
        &["image", "copy", from, &dir][..],
        &["image", "sync", "--src", "docker", "--dest", "docker", "127.0.0.1:9/a:1", "127.0.0.1:9/b"],
        &["push", "nonesuch", to],
        &["manifest", "push", "nonesuch", to],
        &["pull", from],
    ] {
        for flag in [
            "sign-by",
            "sign-by-sigstore",
            "sign-by-sigstore-private-key",
            "sign-by-sq-fingerprint",
            "sign-identity",
            "sign-passphrase-file",
            "encrypt-layer",
            "encryption-key",
            "decryption-key",
        ] {
            let words = [&format!("--{flag}=x"), &format!("--{flag}")];
            let why =
                [&format!("--{flag} is refused") as &str, "is not there yet", "nothing was transferred"];
            world.loment([command, &[words[0]]].concat()).fails_saying(125, &why);
            world.loment([command, &[words[1], "-1"]].concat()).fails_saying(125, &why);
        }
    }
    assert!(!world.path("there").exists());
}

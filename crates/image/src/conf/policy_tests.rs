use super::*;

fn policy(text: &str) -> Policy {
    Policy::parse(File { name: "f", text }).unwrap()
}

fn problem(text: &str) -> String {
    Policy::parse(File { name: "f", text }).unwrap_err().to_string()
}

fn docker(name: &str) -> Subject {
    Subject::docker(&name.parse().unwrap())
}

#[test]
fn scopes_of_images() {
    let scopes = |name: &str| docker(name).scopes;
    assert_eq!(scopes("quay.io/a/b:1"), ["quay.io/a/b:1", "quay.io/a/b", "quay.io/a", "quay.io", "*.io"]);
    assert_eq!(
        scopes("x.h.test:5000/a"),
        ["x.h.test:5000/a:latest", "x.h.test:5000/a", "x.h.test:5000", "*.h.test", "*.test"]
    );
    assert_eq!(scopes("busybox")[0], "docker.io/library/busybox:latest");
    assert_eq!(Subject::path("dir", "/a/b/c", None).scopes, ["/a/b/c", "/a/b", "/a"]);
    assert_eq!(Subject::path("oci", "/a/b", Some("1")).scopes, ["/a/b:1", "/a/b", "/a"]);
    assert_eq!(Subject::path("oci", "/a/b", Some("")).scopes[0], "/a/b:");
    assert_eq!(
        Subject::storage("vfs", "/s", "quay.io/a/b:1").scopes,
        [
            "[vfs@/s]quay.io/a/b:1",
            "[vfs@/s]quay.io/a/b:1",
            "[vfs@/s]quay.io/a/b",
            "[vfs@/s]quay.io/a",
            "[vfs@/s]quay.io",
            "[vfs@/s]",
            "[/s]"
        ]
    );
    assert_eq!(Subject::path("dir", "/", None).scopes, Vec::<String>::new());
}

#[test]
fn the_most_specific_scope_counts_and_no_other() {
    let accept = r#"[{"type":"insecureAcceptAnything"}]"#;
    let reject = r#"[{"type":"reject"}]"#;
    let text = format!(
        r#"{{"default": {reject}, "transports": {{
            "docker": {{"": {reject}, "quay.io": {accept}, "quay.io/bad": {reject}, "quay.io/bad/good:1": {accept}, "*.test": {accept}}},
            "dir": {{"/srv": {accept}}},
            "atomic": {{"anything": {accept}}}}}}}"#
    );
    let policy = policy(&text);
    for (subject, accepted) in [
        (docker("quay.io/a:1"), true),
        (docker("quay.io/bad/a"), false),
        (docker("quay.io/bad/good:1"), true),
        (docker("quay.io/bad/good:2"), false),
        (docker("h.test:5000/a"), true),
        (docker("busybox"), false),
        (Subject::path("dir", "/srv/images/a", None), true),
        (Subject::path("dir", "/home", None), false),
        (Subject::path("oci", "/srv", Some("")), false),
        (Subject::nameless("docker-archive", "docker-archive:/x".into()), false),
    ] {
        assert_eq!(policy.check(&subject).is_ok(), accepted, "{subject:?}");
    }
    let told = policy.check(&docker("busybox")).unwrap_err().to_string();
    assert_eq!(
        told,
        "Source image rejected: Running image docker://docker.io/library/busybox:latest is rejected by policy (f)"
    );
    assert!(Policy::accept_anything().check(&docker("busybox")).is_ok());
}

#[test]
fn what_cannot_be_verified_is_refused() {
    for (kind, requirement) in [
        ("signedBy", r#""keyType":"GPGKeys","keyPath":"/k""#),
        ("signedBy", r#""keyType":"GPGKeys","keyPaths":["/k"],"signedIdentity":{"type":"matchExact"}"#),
        (
            "signedBy",
            r#""keyType":"GPGKeys","keyData":"AAAA","signedIdentity":{"type":"exactReference","dockerReference":"h.x/a:1"}"#,
        ),
        ("signedBaseLayer", r#""baseLayerIdentity":{"type":"exactRepository","dockerRepository":"h.x/a"}"#),
        (
            "sigstoreSigned",
            r#""keyPath":"/k","signedIdentity":{"type":"remapIdentity","prefix":"h.x","signedPrefix":"h.y/z"}"#,
        ),
        ("sigstoreSigned", r#""keyDatas":["AAAA"],"rekorPublicKeyPath":"/r""#),
        (
            "sigstoreSigned",
            r#""fulcio":{"caPath":"/c","oidcIssuer":"i","subjectEmail":"e"},"rekorPublicKeyData":"AAAA""#,
        ),
        ("sigstoreSigned", r#""pki":{"caRootsPath":"/c","subjectEmail":"e"}"#),
    ] {
        let text = format!(
            r#"{{"default":[{{"type":"insecureAcceptAnything"}},{{"type":"{kind}",{requirement}}}]}}"#
        );
        let told = policy(&text).check(&docker("busybox")).unwrap_err().to_string();
        assert!(told.contains(&format!("f requires {kind} of docker://")), "{told}");
    }
}

#[test]
fn what_is_not_understood_says_nothing() {
    let signed = |rest: &str| format!(r#"{{"default":[{{"type":"signedBy","keyType":"GPGKeys",{rest}}}]}}"#);
    let sigstore = |rest: &str| format!(r#"{{"default":[{{"type":"sigstoreSigned",{rest}}}]}}"#);
    let scoped = |transport: &str, scope: &str| {
        format!(
            r#"{{"default":[{{"type":"reject"}}],"transports":{{"{transport}":{{"{scope}":[{{"type":"reject"}}]}}}}}}"#
        )
    };
    for (text, expected) in [
        (String::new(), "line 1, column 0"),
        ("{}".into(), "default policy is missing"),
        ("[]".into(), "the policy is not an object"),
        (r#"{"default":[]}"#.into(), "must not be empty"),
        (r#"{"default":{}}"#.into(), "not a list"),
        (r#"{"default":["reject"]}"#.into(), "is not an object"),
        (r#"{"default":[{}]}"#.into(), "has no type"),
        (r#"{"default":[{"type":1}]}"#.into(), "type of a requirement of default is not a text"),
        (r#"{"default":[{"type":"Reject"}]}"#.into(), "unknown policy requirement type \"Reject\""),
        (r#"{"default":[{"type":"reject","x":1}]}"#.into(), "unknown key \"x\" in a requirement of default"),
        (r#"{"default":[{"type":"reject"}],"Default":1}"#.into(), "unknown key \"Default\""),
        (
            r#"{"default":[{"type":"reject"}],"default":[{"type":"insecureAcceptAnything"}]}"#.into(),
            "duplicate key \"default\"",
        ),
        (
            r#"{"default":[{"type":"reject","type":"insecureAcceptAnything"}]}"#.into(),
            "duplicate key \"type\"",
        ),
        (r#"{"default":[{"type":"reject"}]} x"#.into(), "trailing characters"),
        (r#"{"default":[{"type":"reject"}],"transports":null}"#.into(), "transports is not an object"),
        (scoped("dir", "relative"), "is no scope of transport \"dir\""),
        (scoped("dir", "/"), "is no scope"),
        (scoped("oci", "/a/../b"), "is no scope"),
        (scoped("docker-archive", "/a"), "is no scope"),
        (signed(r#""keyPath":"/k","keyData":"AAAA""#), "more than one present"),
        (signed(r#""signedIdentity":{"type":"matchExact"}"#), "none of them present"),
        (signed(r#""keyPath":"""#), "keyPath has no use"),
        (signed(r#""keyData":"§""#), "keyData has no use"),
        (
            signed(r#""keyPath":"/k","signedIdentity":{"type":"matchAll"}"#),
            "unknown policy reference match type",
        ),
        (
            signed(r#""keyPath":"/k","signedIdentity":{"type":"exactReference","dockerReference":"h.x/a"}"#),
            "with tag or digest",
        ),
        (
            signed(
                r#""keyPath":"/k","signedIdentity":{"type":"remapIdentity","prefix":"h.x/","signedPrefix":"h.y"}"#,
            ),
            "is no prefix",
        ),
        (r#"{"default":[{"type":"signedBy","keyType":"none","keyPath":"/k"}]}"#.into(), "invalid keyType"),
        (r#"{"default":[{"type":"signedBaseLayer"}]}"#.into(), "has no baseLayerIdentity"),
        (sigstore(r#""keyPath":"/k","pki":{}"#), "exactly one of keyPath"),
        (sigstore(r#""fulcio":{"caPath":"/c","oidcIssuer":"i","subjectEmail":"e"}"#), "needs Rekor"),
        (sigstore(r#""pki":{"caRootsPath":"/c"}"#), "needs subjectEmail or subjectHostname"),
    ] {
        let told = problem(&text);
        assert!(told.contains(expected) && told.contains('f') && !told.contains('\n'), "{text}\n{told}");
    }
}

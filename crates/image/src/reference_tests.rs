use super::*;

const HEX: &str = "e6693c20186f837fc393390135d8a598a96a833917917789d63766cab6c59582";

fn parse(input: &str) -> Result<Reference, Problem> {
    input.parse().map_err(|error: ReferenceError| error.problem)
}

#[test]
fn names_are_normalised_as_docker_does() {
    for (input, full, familiar) in [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1.2", "docker.io/library/busybox:1.2", "busybox:1.2"),
        ("user/app", "docker.io/user/app", "user/app"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("index.docker.io/a/b", "docker.io/a/b", "a/b"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("127.0.0.1:5000/app:latest", "127.0.0.1:5000/app:latest", "127.0.0.1:5000/app:latest"),
        ("[fe80::1]:5000/a", "[fe80::1]:5000/a", "[fe80::1]:5000/a"),
        ("[::1]/a", "[::1]/a", "[::1]/a"),
        ("Upper/app", "Upper/app", "Upper/app"),
        (
            "xn--n3h.com/myimage:xn--n3h.com",
            "xn--n3h.com/myimage:xn--n3h.com",
            "xn--n3h.com/myimage:xn--n3h.com",
        ),
        ("a.b/c__d/e--f/g.h_i", "a.b/c__d/e--f/g.h_i", "a.b/c__d/e--f/g.h_i"),
    ] {
        let reference = parse(input).unwrap_or_else(|problem| panic!("{input}: {problem}"));
        assert_eq!((reference.to_string().as_str(), reference.familiar().as_str()), (full, familiar));
    }
}

#[test]
fn digests_and_tags_are_kept_apart() {
    let reference = parse(&format!("host:1/app:tag@sha256:{HEX}")).unwrap();
    assert_eq!((reference.domain(), reference.path(), reference.tag()), ("host:1", "app", Some("tag")));
    assert_eq!(reference.manifest(), format!("sha256:{HEX}"));
    assert_eq!(reference.store_name(), format!("host:1/app@sha256:{HEX}"));
    let reference = parse("host:1/app").unwrap();
    assert_eq!((reference.manifest(), reference.store_name().as_str()), ("latest", "host:1/app:latest"));
    assert_eq!(reference.with_tag("x").unwrap().to_string(), "host:1/app:x");
    assert!(reference.with_tag("x/y").is_err());
    assert!(Reference::is_short("app/x:1") && !Reference::is_short("localhost/x"));
}

#[test]
fn bad_references_are_told_in_known_words() {
    let upper = |name: &str| Problem::Uppercase(name.into());
    for (input, problem) in [
        ("", Problem::Format),
        ("Foo", upper("library/Foo")),
        ("localhost/Foo/bar", upper("Foo/bar")),
        (":tag", Problem::Format),
        ("a b", Problem::Format),
        ("a/", Problem::Format),
        ("/a", Problem::Format),
        ("a//b", Problem::Format),
        ("-a", Problem::Format),
        ("a-", Problem::Format),
        ("a___b", Problem::Format),
        ("a..b", Problem::Format),
        ("a._b", Problem::Format),
        ("a:", Problem::Format),
        ("a:b:c", Problem::Format),
        ("a:-b", Problem::Format),
        ("a@", Problem::Format),
        ("a@sha256:", Problem::Format),
        ("a@sha256:12", Problem::Format),
        ("a@sha256:zz693c20186f837fc393390135d8a598", Problem::Format),
        ("host:port/a", Problem::Format),
        ("host:/a", Problem::Format),
        ("-h.x/a", Problem::Format),
        ("a..b/c", Problem::Format),
        ("[::1/a", Problem::Format),
        ("[::g]/a", Problem::Format),
        ("[::1]5/a", Problem::Format),
        ("../a", Problem::Format),
        ("a/../b", Problem::Format),
        ("é", Problem::Format),
        ("a@sha256:e6693c20186f837fc393390135d8a598", Problem::Digest),
        ("a@md5:e6693c20186f837fc393390135d8a598", Problem::Algorithm),
        (HEX, Problem::Identifier(HEX.into())),
    ] {
        assert_eq!(parse(input).err(), Some(problem), "{input:?}");
    }
    assert_eq!(parse(&format!("a:{}", "t".repeat(129))), Err(Problem::Format));
    assert!(parse(&format!("a:{}", "t".repeat(128))).is_ok());
    assert_eq!(parse(&format!("h.x/{}", "a/".repeat(126) + "a")), Err(Problem::TooLong));
    let message = "Foo".parse::<Reference>().unwrap_err().to_string();
    let expected = "parsing reference \"Foo\": invalid reference format: repository name (library/Foo) must be lowercase";
    assert_eq!(message, expected);
}

#[test]
fn a_short_form_means_the_same() {
    let hex = format!("docker.io/library/{HEX}");
    for full in ["docker.io/1.2/a", "docker.io/localhost/a:1", "docker.io/library/a/b", &hex] {
        let reference: Reference = full.parse().unwrap();
        let familiar = reference.familiar();
        assert_eq!(familiar.parse::<Reference>().unwrap(), reference, "{familiar}");
    }
}

proptest::proptest! {
    #[test]
    fn what_is_parsed_is_written_the_same(input in "[a-zA-Z0-9_.:/@\\[\\]-]{0,40}") {
        if let Ok(reference) = input.parse::<Reference>() {
            proptest::prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference.clone());
            proptest::prop_assert_eq!(reference.store_name().parse::<Reference>().unwrap().store_name(), reference.store_name());
        }
    }
}

use super::*;

fn conf(text: &str) -> Registries {
    Registries::parse([File { name: "f", text }]).unwrap()
}

fn problem(text: &str) -> String {
    Registries::parse([File { name: "f", text }]).unwrap_err().to_string()
}

/// Where a reference is looked for, with `!` after an insecure place.
fn places(conf: &Registries, reference: &str) -> Vec<String> {
    let show = |e: &Endpoint| format!("{}{}", e.reference, if e.insecure == Some(true) { "!" } else { "" });
    match conf.endpoints(&reference.parse().unwrap()) {
        Ok(endpoints) => endpoints.iter().map(show).collect(),
        Err(error) => vec![error.to_string()],
    }
}

const DIGEST: &str = "sha256:7173b809ca12ec5dee4506cd86be934c4596dd234ee82c0662eac04a8c2c71dc";

#[test]
fn what_is_not_configured_is_asked_where_it_says() {
    for text in ["", "unqualified-search-registries = []", "future-key = 1\n[future]\nx = {}"] {
        assert_eq!(places(&conf(text), "h.x/a:1"), ["h.x/a:1"], "{text}");
        assert_eq!(places(&conf(text), "busybox"), ["docker.io/library/busybox"]);
    }
}

#[test]
fn the_longest_prefix_counts() {
    let conf = conf(
        r#"
        [[registry]]
        prefix = "h.x"
        location = "one.test"
        [[registry]]
        prefix = "h.x/team/"
        location = "two.test/of"
        insecure = true
        [[registry]]
        prefix = "h.x/team/secret"
        location = "h.x/team/secret"
        blocked = true
        [[registry]]
        location = "same.test"
        insecure = true
        [[registry]]
        prefix = "*.wild.test"
        insecure = true
        [[registry]]
        prefix = "*.b.wild.test"
        location = "three.test"
        "#,
    );
    assert_eq!(places(&conf, "h.x/a:1"), ["one.test/a:1"]);
    assert_eq!(places(&conf, "h.x/teams/a"), ["one.test/teams/a"]);
    assert_eq!(places(&conf, "h.x/team/a"), ["two.test/of/a!"]);
    assert_eq!(places(&conf, &format!("h.x/team/a@{DIGEST}")), [format!("two.test/of/a@{DIGEST}!")]);
    assert_eq!(places(&conf, "h.x/team/secret/deep:1"), ["registry h.x/team/secret is blocked in f"]);
    assert_eq!(places(&conf, "h.x/team/secrets"), ["two.test/of/secrets!"]);
    assert_eq!(places(&conf, "same.test/a"), ["same.test/a!"]);
    assert_eq!(places(&conf, "a.wild.test:5000/a"), ["a.wild.test:5000/a!"]);
    assert_eq!(places(&conf, "a.b.wild.test/a"), ["three.test/a"]);
    assert_eq!(places(&conf, "wild.test/a"), ["wild.test/a"]);
    assert_eq!(conf.insecure("h.x/team/a"), Ok(Some(true)));
    assert_eq!(conf.insecure("h.x"), Ok(None));
    assert!(conf.insecure("h.x/team/secret").is_err());
}

#[test]
fn docker_hub_has_its_full_name() {
    let conf = conf("[[registry]]\nprefix = \"docker.io/library\"\nlocation = \"hub.test/l\"");
    assert_eq!(places(&conf, "busybox:1"), ["hub.test/l/busybox:1"]);
    assert_eq!(places(&conf, "team/app"), ["docker.io/team/app"]);
}

#[test]
fn mirrors_are_asked_first_when_they_are_meant() {
    let conf = conf(
        r#"
        [[registry]]
        location = "h.x"
        [[registry.mirror]]
        location = "all.test"
        [[registry.mirror]]
        location = "tags.test:5000/x/"
        insecure = true
        pull-from-mirror = "tag-only"
        [[registry.mirror]]
        location = "digests.test"
        pull-from-mirror = "digest-only"
        [[registry]]
        location = "d.x"
        mirror-by-digest-only = true
        [[registry.mirror]]
        location = "m.test"
        "#,
    );
    assert_eq!(places(&conf, "h.x/a:1"), ["all.test/a:1", "tags.test:5000/x/a:1!", "h.x/a:1"]);
    let by_digest =
        |places: &[&str]| -> Vec<String> { places.iter().map(|p| format!("{p}@{DIGEST}")).collect() };
    assert_eq!(
        places(&conf, &format!("h.x/a@{DIGEST}")),
        by_digest(&["all.test/a", "digests.test/a", "h.x/a"])
    );
    assert_eq!(places(&conf, "d.x/a"), ["d.x/a"]);
    assert_eq!(places(&conf, &format!("d.x/a@{DIGEST}")), by_digest(&["m.test/a", "d.x/a"]));
}

#[test]
fn a_blocked_place_is_not_reached_through_another_name() {
    let conf = conf(
        "[[registry]]\nprefix = \"a.x\"\nlocation = \"evil.test\"\n[[registry]]\nprefix = \"evil.test/\"\nlocation = \"e.test\"\nblocked = true",
    );
    assert_eq!(places(&conf, "a.x/b"), ["registry evil.test is blocked in f"]);
    let text = "[[registry]]\nlocation = \"a.x\"\n[[registry.mirror]]\nlocation = \"evil.test\"\n[[registry]]\nlocation = \"evil.test\"\nblocked = true";
    assert_eq!(places(&super::tests::conf(text), "a.x/b"), ["a.x/b"]);
}

#[test]
fn a_location_that_makes_no_reference_is_told() {
    for location in ["UPPER.test/X", "nodots", "docker.io"] {
        let conf = conf(&format!("[[registry]]\nprefix = \"h.x\"\nlocation = {location:?}"));
        let told = places(&conf, "h.x/a");
        assert!(told[0].contains("not a full image name"), "{told:?}");
    }
}

#[test]
fn later_files_replace_what_earlier_ones_say() {
    let main = r#"
        unqualified-search-registries = ["one.test", "two.test:5000"]
        short-name-mode = "enforcing"
        credential-helpers = ["secretservice", "containers-auth.json"]
        [[registry]]
        location = "h.x"
        insecure = true
        [[registry]]
        location = "stays.test"
        insecure = true
        [aliases]
        a = "h.x/a"
        b = "h.x/b"
        c = "docker.io/c"
        "#;
    let drop_in = "[[registry]]\nlocation = \"h.x\"\n[aliases]\na = \"h.y/a\"\nb = \"\"\n";
    let files = [File { name: "main", text: main }, File { name: "10.conf", text: drop_in }];
    let mut all = Registries::parse(files).unwrap();
    assert_eq!(places(&all, "h.x/a"), ["h.x/a"]);
    assert_eq!(places(&all, "stays.test/a"), ["stays.test/a!"]);
    assert_eq!(all.search(), ["one.test", "two.test:5000"]);
    assert_eq!(all.helpers().collect::<Vec<_>>(), [Some("secretservice"), None]);
    let names = all.short_names();
    assert_eq!(names.mode, ShortNameMode::Enforcing);
    assert_eq!(names.aliases["a"], Alias { name: Some("h.y/a".into()), file: "10.conf".into() });
    assert_eq!(names.aliases["b"].name, None);
    assert_eq!(names.aliases["c"].name.as_deref(), Some("docker.io/library/c"));
    all.add_recorded(File { name: "recorded", text: "[aliases]\n\"b\" = \"h.z/b\"" }).unwrap();
    assert_eq!(all.short_names().aliases["b"].name.as_deref(), Some("h.z/b"));
    let last = File { name: "20.conf", text: "unqualified-search-registries = []" };
    assert!(Registries::parse(files.into_iter().chain([last])).unwrap().search().is_empty());
}

#[test]
fn of_several_tables_with_one_prefix_the_first_counts() {
    let conf = conf(
        "[[registry]]\nprefix = \"h.x\"\nlocation = \"a.test\"\n[[registry]]\nprefix = \"h.x\"\nlocation = \"b.test\"",
    );
    assert_eq!(places(&conf, "h.x/a"), ["a.test/a"]);
}

#[test]
fn mistakes_are_told_with_file_and_place() {
    for (text, expected) in [
        ("a = ", "parse f: line 1, column 5: "),
        ("\nunqualified-search-registries = 1", "parse f: line 2, column 33: invalid type: integer"),
        ("[registries.search]\nregistries = []", "f: registry must be in v2 format but is in v1"),
        ("[[registry]]", "both location and prefix are unset"),
        (
            "[[registry]]\nprefix = \"h.x\"",
            "location is unset and prefix is not in the format: *.example.com",
        ),
        (
            "[[registry]]\nlocation = \"https://h.x\"",
            "invalid location \"https://h.x\": URI schemes are not supported",
        ),
        ("[[registry]]\nlocation = \"///\"", "cannot be empty"),
        ("[[registry]]\nlocation = \"h.x\"\nblocked = \"yes\"", "line 3, column 11"),
        ("[[registry]]\nlocation = \"h.x\"\npull-from-mirror = \"all\"", "must not be set for a non-mirror"),
        ("[[registry]]\nlocation = \"h.x\"\n[[registry.mirror]]\ninsecure = true", "invalid location \"\""),
        (
            "[[registry]]\nlocation = \"h.x\"\n[[registry.mirror]]\nlocation = \"m\"\npull-from-mirror = \"no\"",
            "use all, digest-only or tag-only",
        ),
        (
            "[[registry]]\nlocation = \"h.x\"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = \"m\"\npull-from-mirror = \"all\"",
            "exclude each other",
        ),
        (
            "[[registry]]\nprefix = \"a\"\nlocation = \"h.x\"\n[[registry]]\nprefix = \"b\"\nlocation = \"h.x\"\ninsecure = true",
            "conflicting 'insecure' setting",
        ),
        (
            "[[registry]]\nprefix = \"a\"\nlocation = \"h.x\"\nblocked = true\n[[registry]]\nprefix = \"b\"\nlocation = \"h.x\"",
            "conflicting 'blocked' setting",
        ),
        ("unqualified-search-registries = [\"h.x/a\"]", "use HOST or HOST:PORT"),
        ("unqualified-search-registries = [\"h x\"]", "use HOST or HOST:PORT"),
        ("short-name-mode = \"strict\"", "use enforcing, permissive or disabled"),
        ("[aliases]\n\"a:1\" = \"h.x/a\"", "without registry, tag and digest"),
        ("[aliases]\n\"h.x/a\" = \"h.x/a\"", "without registry, tag and digest"),
        ("[aliases]\na = \"b\"", "with its registry"),
        ("[aliases]\na = \"h.x/b:1\"", "with its registry"),
    ] {
        let told = problem(text);
        assert!(told.contains(expected) && !told.contains('\n'), "{text}\n{told}");
    }
}

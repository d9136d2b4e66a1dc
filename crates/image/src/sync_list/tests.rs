use super::*;

fn parse(text: &str) -> Result<Vec<SyncRegistry>, String> {
    parse_sync_list(File { name: "list.yml", text }).map_err(|error| error.to_string())
}

/// The repositories with the tags of `tags` that are wanted.
fn wanted(registry: &SyncRegistry, tags: &[&str]) -> Vec<String> {
    let each = |repository: &SyncRepository| {
        let tags: Vec<_> = tags.iter().filter(|tag| repository.wanted.has(tag)).copied().collect();
        format!("{} {}", repository.name.name(), tags.join(","))
    };
    registry.repositories.iter().map(each).collect()
}

/// As skopeo's manual has it.
const LIST: &str = r#"
registry.example.com:
    images:
        busybox: []
        redis:
            - "1.0"
            - 2.0
            - "sha256:7173b809ca12ec5dee4506cd86be934c4596dd234ee82c0662eac04a8c2c71dc"
    images-by-tag-regex:
        nginx: ^1\.13\.[12]-alpine-perl$
    images-by-semver:
        alpine: ">= 3.12.0"
    credentials:
        username: john
        password: this is a secret
    tls-verify: true
    cert-dir: /home/john/certs
"127.0.0.1:5000":
    tls-verify: no
    images:
        coreos/etcd:
            - latest
docker.io: {images: {busybox: , team/app: ~}}
"#;

#[test]
fn a_list_says_which_images_of_which_registries() {
    let list = parse(LIST).unwrap();
    let [first, second, third] = list.as_slice() else { panic!("{list:?}") };
    let tags = ["1.0", "2.0", "1.13.2-alpine-perl", "1.13.3-alpine-perl", "3.12.0", "3.11", "v4", "latest"];
    assert_eq!(
        wanted(first, &tags),
        [
            format!("registry.example.com/busybox {}", tags.join(",")),
            "registry.example.com/redis 1.0,2.0".to_owned(),
            "registry.example.com/nginx 1.13.2-alpine-perl".to_owned(),
            "registry.example.com/alpine 3.12.0,v4".to_owned(),
        ]
    );
    let Wanted::These(images) = &first.repositories[1].wanted else { panic!("{first:?}") };
    assert!(images[2].to_string().starts_with("registry.example.com/redis@sha256:7173"), "{images:?}");
    let credentials = first.credentials.as_ref().unwrap();
    assert_eq!((credentials.username.as_str(), credentials.password.as_str()), ("john", "this is a secret"));
    assert_eq!(
        (first.tls_verify, first.cert_dir.as_deref()),
        (Some(true), Some("/home/john/certs".as_ref()))
    );
    assert_eq!((second.tls_verify, second.name.as_str()), (Some(false), "127.0.0.1:5000"));
    assert_eq!(wanted(second, &tags), ["127.0.0.1:5000/coreos/etcd latest"]);
    let all = |name: &str| format!("docker.io/{name} {}", tags.join(","));
    assert_eq!(wanted(third, &tags), [all("library/busybox"), all("team/app")]);
    assert!(parse("").unwrap().is_empty() && parse("# nothing\n").unwrap().is_empty());
    let empty = parse("h.x:\n").unwrap();
    assert!(empty[0].repositories.is_empty() && empty[0].credentials.is_none());
}

#[test]
fn aliases_stand_for_what_they_name() {
    let text = "a.x: &a\n  images: {one: &tags [v1, !!str null]}\n  credentials: &c {username: u, password: p}\n\
                b.x:\n  images: {two: *tags}\n  credentials: *c\nc.x: *a\n";
    let list = parse(text).unwrap();
    let tags = ["v1", "null", "v2"];
    let repositories: Vec<_> = list.iter().flat_map(|registry| wanted(registry, &tags)).collect();
    assert_eq!(repositories, ["a.x/one v1,null", "b.x/two v1,null", "c.x/one v1,null"]);
    assert!(list.iter().all(|registry| registry.credentials.is_some()));
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    for (text, line, words) in [
        ("a.x:\n  image: {}\n", 2, "unknown key \"image\": use images, images-by-tag-regex"),
        ("a.x:\n  images: [b]\n", 2, "expected names of repositories"),
        ("a.x:\n  images:\n    b: v1\n", 3, "expected a list of tags"),
        ("a.x:\n  images:\n    b:\n    - v1\n    - \n", 5, "there is nothing"),
        ("a.x:\n  images:\n    b: [v1, \"a b\"]\n", 3, "a b"),
        ("a.x:\n  images:\n    B: []\n", 3, "lowercase"),
        ("a.x:\n  images:\n    b:1: []\n", 3, "names an image, not a repository"),
        ("a.x:\n  images-by-tag-regex:\n    b: '['\n", 3, "invalid regular expression \"[\": unclosed"),
        ("a.x:\n  images-by-tag-regex:\n    b: 'a{9999}{9999}'\n", 3, "size limit"),
        ("a.x:\n  images-by-semver:\n    b: newest\n", 3, "improper constraint \"newest\""),
        ("a.x:\n  tls-verify: maybe\n", 2, "expected true or false"),
        ("a.x:\n  tls-verify: \"true\"\n", 2, "expected true or false"),
        ("a.x:\n  credentials: {username: u}\n", 2, "both username and password"),
        ("a.x:\n  credentials: {user: u}\n", 2, "unknown key \"user\" of credentials"),
        ("a.x:\n  cert-dir: [a]\n", 2, "expected text"),
        ("- a\n", 1, "must have registries"),
        ("a.x: {}\na.x: {}\n", 2, "\"a.x\" is there twice"),
        ("a.x: {}\n---\nb.x: {}\n", 2, "only one is read"),
        ("a.x: !!set {}\n", 1, "means nothing here"),
        ("!=%0ai", 1, "means nothing here"),
        ("a.x: &a\n  images: *a\n", 2, "has not ended"),
        ("a.x: *b\n", 1, ""),
        ("a.x: [\n", 1, "unclosed bracket"),
        ("a.x:\n\timages: {}\n", 2, ""),
        ("? [a]\n: b\n", 1, "a key must be text"),
        ("a: [[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]", 1, "nested more than 16 times"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.starts_with(&format!("parse list.yml: line {line}, column ")), "{text:?}: {error}");
        assert!(error.contains(words) && !error.contains('\n'), "{text:?}: {error}");
    }
    // What multiplies is not built.
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let alias = format!("*a{}, ", level - 1).repeat(10);
        text += &format!("a{level}: &a{level} [{alias}]\n");
    }
    let error = parse(&text).unwrap_err();
    assert!(error.contains("is larger than"), "{error}");
}

#[test]
fn patterns_are_bounded_together() {
    let list = |count: usize, pattern: &str| {
        let mut text = "a.x:\n  images-by-tag-regex:\n".to_owned();
        (0..count).for_each(|n| text += &format!("    r{n}: '{pattern}'\n"));
        parse(&text)
    };
    // Each of them is allowed.
    let large = "(v[0-9]{1,40}x){1,40}";
    assert_eq!(list(8, large).unwrap()[0].repositories.len(), 8);
    let error = list(2000, large).unwrap_err();
    assert!(error.contains("64 MiB") && error.contains("split the list"), "{error}");
    assert_eq!(list(1500, r"^1\.13\.[12]-alpine-perl$").unwrap()[0].repositories.len(), 1500);
    let error = list(1, "((a{100}){100}){100}").unwrap_err();
    assert!(error.contains("invalid regular expression") && error.contains("size limit"), "{error}");
}

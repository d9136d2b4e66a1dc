use super::*;

fn file(format: AuthFormat, text: &str) -> AuthFile {
    AuthFile::parse(File { name: "f", text }, format).unwrap()
}

fn auth(pair: &str) -> Value {
    json!({ "auth": STANDARD.encode(pair) })
}

/// The user for a name.
fn user(file: &AuthFile, name: &str) -> Option<String> {
    file.find(name).unwrap().and_then(|login| Some(login.credentials?.username))
}

#[test]
fn the_longest_part_of_a_name_counts() {
    let auths = json!({ "auths": {
        "h.x/team/app": auth("app:1"),
        "h.x/team": auth("team:1"),
        "h.x": auth("all:1"),
        "h.x:5000": auth("port:1"),
        "docker.io/vendor": auth("vendor:1"),
        "https://old.x/v1/": auth("old:1"),
    }});
    let file = file(AuthFormat::Containers, &auths.to_string());
    for (name, expected) in [
        ("h.x/team/app", Some("app")),
        ("h.x/team/app/deeper", Some("app")),
        ("h.x/team/apps", Some("team")),
        ("h.x/teams/app", Some("all")),
        ("h.x", Some("all")),
        ("h.x:5000/team/app", Some("port")),
        ("h.x:5001/a", None),
        ("docker.io/vendor/a", Some("vendor")),
        ("docker.io/library/a", None),
        ("old.x/a/b", Some("old")),
    ] {
        assert_eq!(user(&file, name).as_deref(), expected, "{name}");
    }
}

#[test]
fn docker_hub_has_many_names() {
    for key in ["docker.io", "index.docker.io", "https://index.docker.io/v1/", "registry-1.docker.io"] {
        let text = json!({ "auths": { key: auth("me:1") } }).to_string();
        assert_eq!(
            user(&file(AuthFormat::Docker, &text), "docker.io/library/a").as_deref(),
            Some("me"),
            "{key}"
        );
    }
    let legacy = json!({ "https://index.docker.io/v1/": auth("me:1"), "h.x/v1/": auth("you:1") }).to_string();
    let legacy = file(AuthFormat::Legacy, &legacy);
    assert_eq!(user(&legacy, "docker.io/library/a").as_deref(), Some("me"));
    assert_eq!(user(&legacy, "h.x/a").as_deref(), Some("you"));
}

#[test]
fn tokens_and_odd_logins() {
    let text = json!({ "auths": {
        "id.x": { "auth": STANDARD.encode("<token>:"), "identitytoken": "abc" },
        "bearer.x": { "registrytoken": "def" },
        "zeros.x": auth("me:a:b\0\0"),
        "half.x": auth("me"),
        "none.x": auth("me:"),
        "empty.x": {},
        "bad.x": { "auth": "§§§" },
        "number.x": { "auth": 12345 },
    }});
    let file = file(AuthFormat::Containers, &text.to_string());
    let login = |name: &str| file.find(name).unwrap();
    assert_eq!(login("id.x").unwrap().identity_token.as_deref(), Some("abc"));
    assert_eq!(login("bearer.x").unwrap().bearer.as_deref(), Some("def"));
    assert_eq!(login("zeros.x").unwrap().credentials.unwrap().password, "a:b");
    for name in ["half.x", "none.x", "empty.x", "other.x"] {
        assert_eq!(login(name), None, "{name}");
    }
    for name in ["bad.x", "number.x"] {
        let told = file.find(name).unwrap_err().to_string();
        assert!(told.starts_with(&format!("f: invalid login for {name:?}: ")), "{told}");
        assert!(!told.contains("12345") && !told.contains('§'), "{told}");
    }
}

#[test]
fn helpers_are_named_for_registries_or_for_all() {
    let text = json!({ "credHelpers": { "h.x": "pass", "none.x": "" }, "credsStore": "desktop" }).to_string();
    let file = file(AuthFormat::Docker, &text);
    let pass = HelperFor { helper: "pass".into(), server: "h.x".into(), store: false };
    assert_eq!(
        (file.helper("h.x"), file.helper("none.x"), file.helper("o.x")),
        (Some(pass.clone()), None, None)
    );
    assert_eq!(file.helpers(), [pass]);
    assert_eq!(file.store("o.x").unwrap().server, "o.x");
    assert_eq!(file.store("docker.io").unwrap().server, HUB);
}

#[test]
fn what_else_is_in_a_file_stays() {
    let credentials = Credentials { username: "me".into(), password: "pw".into() };
    let text = json!({ "HttpHeaders": { "X": "y" }, "auths": { "h.x": auth("you:1") }, "credsStore": "s" });
    let mut docker = file(AuthFormat::Docker, &text.to_string());
    docker.set("docker.io", &credentials).unwrap();
    docker.set("h.x", &credentials).unwrap();
    assert!(docker.set("h.x/team", &credentials).is_err());
    let written: Value = serde_json::from_str(&docker.to_text()).unwrap();
    assert_eq!(
        (&written["HttpHeaders"], &written["credsStore"]),
        (&text["HttpHeaders"], &text["credsStore"])
    );
    assert_eq!(written["auths"], json!({ HUB: auth("me:pw"), "h.x": auth("me:pw") }));
    assert!(docker.remove("docker.io") && !docker.remove("docker.io"));
    docker.clear();
    assert_eq!(user(&docker, "h.x"), None);
    let mut own = file(AuthFormat::Containers, "");
    own.set("docker.io/vendor", &credentials).unwrap();
    assert_eq!(
        user(&file(AuthFormat::Containers, &own.to_text()), "docker.io/vendor/a").as_deref(),
        Some("me")
    );
}

#[test]
fn another_spelling_of_a_registry_does_not_hide_a_new_login() {
    let credentials = Credentials { username: "me".into(), password: "pw".into() };
    for (format, table) in [(AuthFormat::Docker, "auths"), (AuthFormat::Legacy, "")] {
        let keys = json!({ "docker.io": auth("old:1"), "http://index.docker.io/v1/": auth("old:1"), "h.x": auth("you:1") });
        let text = if table.is_empty() { keys } else { json!({ table: keys }) };
        let mut file = file(format, &text.to_string());
        file.set("docker.io", &credentials).unwrap();
        assert_eq!(user(&file, "docker.io/library/a").as_deref(), Some("me"));
        assert!(file.remove("docker.io"));
        assert_eq!(user(&file, "docker.io/library/a"), None);
        assert_eq!(user(&file, "h.x").as_deref(), Some("you"));
    }
}

#[test]
fn mistakes_are_told_without_what_is_secret() {
    let told = |text: &str| {
        AuthFile::parse(File { name: "f", text }, AuthFormat::Containers).unwrap_err().to_string()
    };
    assert_eq!(told("{\"auths\": }"), "parse f: line 1, column 11: expected value");
    assert!(told("\"secret\"").contains("an object is expected"));
    assert!(!told("\"secret\"").contains("secret"));
    assert_eq!(told("{\"auths\": [\"secret\"]}"), "f: invalid auths \"\": use an object");
}

#[test]
fn helpers_answers() {
    let login = |text: &str| parse_helper_answer("h", text);
    let all = login(r#"{"ServerURL":"h.x","Username":"me","Secret":"pw"}"#).unwrap();
    assert_eq!(all, Credentials { username: "me".into(), password: "pw".into() }.into());
    let token = login(r#"{"Username":"<token>","Secret":"abc"}"#).unwrap();
    assert_eq!(token.identity_token.as_deref(), Some("abc"));
    assert!(login("{}").unwrap().is_empty() && login("[]").unwrap().is_empty());
    assert!(login("no").is_err());
}

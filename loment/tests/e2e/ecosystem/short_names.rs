//! Names without a registry, as registries.conf means them.

use loment_testkit::{Patience, Registry, Terminal, run};

use super::{configure, podman};
use crate::{fixtures, world};

/// Two registries; the image is in the second.
fn registries() -> (Registry, Registry) {
    (Registry::empty(), fixtures().serve())
}

fn search(first: &Registry, second: &Registry) -> String {
    format!("unqualified-search-registries = [{:?}, {:?}]\n", first.host(), second.host())
}

#[test]
fn podman_looks_in_the_configured_registries_and_docker_does_not() {
    let world = world();
    let (first, second) = registries();
    configure(&world, "registries.conf", &search(&first, &second));
    let pulled = run(&mut podman(&world, &["pull", "--quiet", "multi"]), Patience::NORMAL);
    let id = pulled.succeeds().to_owned();
    assert_eq!(world.inspect("{{.Id}}", &second.name("multi")), id);
    // The same short name is found again.
    assert_eq!(run(&mut podman(&world, &["image", "exists", "multi"]), Patience::NORMAL).code, 0);
    assert_eq!(world.loment(["image", "exists", "multi"]).code, 1);
}

#[test]
fn all_that_went_wrong_is_told() {
    let world = world();
    let (first, second) = registries();
    configure(&world, "registries.conf", &search(&first, &second));
    let failed = run(&mut podman(&world, &["pull", "--quiet", "no/such:1"]), Patience::NORMAL);
    let (one, two) = (first.name("no/such:1"), second.name("no/such:1"));
    failed.fails_saying(125, &["2 errors occurred while pulling:", &one, &two, "manifest unknown"]);
}

#[test]
fn credentials_are_not_shown_to_every_registry_that_a_short_name_may_mean() {
    let world = world();
    let (first, second) = (Registry::empty(), Registry::with_password(&fixtures().storage()));
    configure(&world, "registries.conf", &search(&first, &second));
    let creds = ["--creds", "user:secret"];
    let names = [first.name("multi:latest"), second.name("multi:latest")].join(", ");
    let refused = |command: &[&str], image: &str| {
        let arguments = [command, &creds, &[image]].concat();
        let output = run(&mut podman(&world, &arguments), Patience::NORMAL);
        let words = format!("{image} may be in several registries, and credentials are for one");
        output.fails_saying(125, &[&words, "use the full name"]);
        output
    };
    let output = refused(&["pull", "--quiet"], "multi:latest");
    assert!(output.stderr.contains(&names), "{output}");
    refused(&["pull", "--quiet", "--all-tags"], "multi");
    refused(&["search", "--list-tags"], "multi");
    refused(&["search"], "multi");
    run(&mut podman(&world, &["manifest", "create", "x"]), Patience::NORMAL).succeeds();
    refused(&["manifest", "add", "x"], "multi");
    assert_eq!(first.gets("/manifests/latest") + first.gets("/tags/list") + first.gets("/_catalog"), 0);
    // Where only one can be meant, and without credentials, all is as ever.
    configure(&world, "registries.conf", &search(&second, &second));
    let one = [&["pull", "--quiet"][..], &creds, &["multi:latest"]].concat();
    run(&mut podman(&world, &one), Patience::NORMAL).succeeds();
}

#[test]
fn an_alias_of_a_drop_in_goes_before_the_registries() {
    let world = world();
    let (first, second) = registries();
    configure(&world, "registries.conf", &search(&first, &first));
    let alias = format!("[aliases]\n\"a/short\" = {:?}\n", second.name("multi"));
    configure(&world, "registries.conf.d/50-short.conf", &alias);
    run(&mut podman(&world, &["pull", "--quiet", "a/short:latest"]), Patience::NORMAL).succeeds();
    assert_eq!(world.loment(["image", "exists", &second.name("multi:latest")]).code, 0);
}

#[test]
fn enforcing_asks_and_remembers_or_refuses() {
    let world = world();
    let (first, second) = registries();
    configure(
        &world,
        "registries.conf",
        &format!("{}short-name-mode = \"enforcing\"\n", search(&first, &second)),
    );
    let refused = run(&mut podman(&world, &["pull", "--quiet", "multi:latest"]), Patience::NORMAL);
    refused.fails_saying(125, &["short-name resolution enforced but cannot prompt without a TTY"]);
    let cache = world.path("cache");
    let mut command = podman(&world, &["pull", "--quiet", "multi:latest"]);
    command.env("XDG_CACHE_HOME", &cache);
    let mut terminal = Terminal::start(&command);
    terminal.shows(&format!("2) {}", second.name("multi:latest")));
    terminal.types("7\n");
    terminal.shows("not one of the numbers");
    terminal.types("2\n");
    assert_eq!(terminal.ends(), 0, "{}", terminal.screen());
    // Nobody needs to be asked again.
    let mut again = podman(&world, &["pull", "--quiet", "multi:latest"]);
    run(again.env("XDG_CACHE_HOME", &cache), Patience::NORMAL).succeeds();
    let recorded = std::fs::read_to_string(cache.join("containers/short-name-aliases.conf")).unwrap();
    assert!(recorded.contains(&format!("multi = {:?}", second.name("multi"))), "{recorded}");
}

#[test]
fn the_environment_names_other_files() {
    let world = world();
    let (first, second) = registries();
    configure(&world, "registries.conf", &search(&first, &first));
    let main = world.write("main.conf", search(&second, &first));
    let mut command = podman(&world, &["pull", "--quiet", "multi"]);
    run(command.env("CONTAINERS_REGISTRIES_CONF", &main), Patience::NORMAL).succeeds();
    let last = world.write("last.conf", "unqualified-search-registries = []");
    let mut command = podman(&world, &["pull", "--quiet", "multi"]);
    let none = run(command.env("CONTAINERS_REGISTRIES_CONF_OVERRIDE", &last), Patience::NORMAL);
    none.fails_saying(125, &["no unqualified-search registries are defined"]);
    let mut command = podman(&world, &["pull", "--quiet", "multi"]);
    let missing = run(command.env("CONTAINERS_REGISTRIES_CONF", "/nonesuch"), Patience::NORMAL);
    missing.fails_saying(125, &["read /nonesuch"]);
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let world = world();
    let path = configure(&world, "registries.conf", "[registries.search]\nregistries = ['a.test']\n");
    let refused = run(&mut podman(&world, &["pull", "--quiet", "multi"]), Patience::NORMAL);
    refused.fails_saying(125, &[&path, "registry must be in v2 format but is in v1"]);
    configure(&world, "registries.conf", "a = \n");
    let refused = run(&mut podman(&world, &["pull", "--quiet", "multi"]), Patience::NORMAL);
    refused.fails_saying(125, &[&path, "line 1, column 5"]);
}

#[test]
fn what_gets_a_short_name_takes_none_of_an_alias_or_a_registry() {
    let world = world();
    let (first, second) = registries();
    let alias = format!("[aliases]\n\"short\" = {:?}\n", second.name("multi"));
    configure(&world, "registries.conf", &(search(&first, &second) + &alias));
    run(&mut podman(&world, &["pull", "--quiet", "short:latest"]), Patience::NORMAL).succeeds();
    let id = world.inspect("{{.Id}}", &second.name("multi:latest"));
    let tar = world.write("root.tar", [0; 1024]);
    let import = run(&mut podman(&world, &["import", "--quiet", &tar, "mine:1"]), Patience::NORMAL);
    let mine = import.succeeds().trim_start_matches("sha256:").to_owned();
    assert_eq!(world.inspect("{{.Id}}", "localhost/mine:1"), mine);
    run(&mut podman(&world, &["tag", "mine:1", "short"]), Patience::NORMAL).succeeds();
    run(&mut podman(&world, &["manifest", "create", "short:2"]), Patience::NORMAL).succeeds();
    assert_eq!(world.inspect("{{.Id}}", "localhost/short:latest"), mine);
    assert_eq!(world.loment(["manifest", "exists", "localhost/short:2"]).code, 0);
    assert_eq!(world.inspect("{{.Id}}", &second.name("multi:latest")), id, "it is what it was");
}

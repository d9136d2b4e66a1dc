//! Lists of many images, and removing them all.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use loment_testkit::{Config, Entry, Image, Layer};
use serde_json::json;

use super::super::Bench;
use super::super::engine::Engine;
use super::super::measure::compare;
use super::cost::{once, table};
use crate::run::succeed;

const IMAGES: usize = 500;
const CONTAINERS: usize = 200;
/// For somebody who tries the benchmark itself.
const SMALL: usize = 20;

pub(super) fn run(bench: &Bench) -> anyhow::Result<()> {
    let (images, containers) = if bench.small { (SMALL, SMALL) } else { (IMAGES, CONTAINERS) };
    let archive = archive(&bench.path("many"), images)?;
    let mut engines = vec![Engine::ours(bench, "loment", "loment.form=dir")?];
    engines.extend(Engine::podman(bench));
    for engine in &mut engines {
        engine.quietly(&["load", "--quiet", "--input", &archive.display().to_string()])?;
        engine.image = name(0);
    }
    let side_by_side = |title: String, arguments: &[&str]| {
        let subjects: Vec<_> = engines.iter().map(|engine| engine.subject(arguments)).collect();
        compare(&title, &subjects, bench.runs)
    };
    side_by_side(format!("images: images with {images} of them"), &["images"])?;
    side_by_side(
        format!("images: images --format json with {images} of them"),
        &["images", "--format", "json"],
    )?;
    for engine in &engines {
        for _ in 0..containers {
            engine.make("create", &[], &["true"])?;
        }
    }
    side_by_side(format!("images: images with {images} of them and {containers} containers"), &["images"])?;
    println!("\nimages: image prune --all of {images}, once");
    let mut costs = Vec::new();
    for engine in &engines {
        engine.quietly(&["rm", "--force", "--all", "--time", "0"])?;
        costs.push((engine.program_name(), [once(&engine.words(&["image", "prune", "--all", "--force"]))?]));
    }
    table("", costs.iter().map(|(name, costs)| (*name, costs.as_slice())));
    Ok(())
}

fn name(n: usize) -> String {
    format!("localhost/many:{n}")
}

/// An archive as `docker save` writes it, of images that differ in their configuration only.
fn archive(dir: &Path, images: usize) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(dir).context("make a directory")?;
    let image = Image::new(Config::shell(), [Layer::of([Entry::file("file", "x")]).into()]);
    fs::write(dir.join("layer.tar"), image.layers[0].bytes()).context("write a layer")?;
    let mut manifest = Vec::new();
    for n in 0..images {
        let one =
            Image { config: Config::shell().set("Labels", json!({ "n": n.to_string() })), ..image.clone() };
        let config =
            format!("{}.json", loment_testkit::digest(&one.document()).trim_start_matches("sha256:"));
        fs::write(dir.join(&config), one.document()).context("write a configuration")?;
        manifest.push(json!({"Config": config, "RepoTags": [name(n)], "Layers": ["layer.tar"]}));
    }
    fs::write(dir.join("manifest.json"), json!(manifest).to_string()).context("write a manifest")?;
    let archive = dir.with_extension("tar");
    // What says what else there is comes first: some read an archive once.
    let script = "cd \"$1\" && tar --create --file \"$2\" manifest.json layer.tar [0-9a-f]*.json";
    succeed(Command::new("sh").args(["-c", script, "sh"]).args([dir, &archive]))?;
    Ok(archive)
}

//! Starting a container over many layers.

use std::process::Command;

use loment_testkit::{Config, Entry, Image, Layer, RawLayer, busybox_rootfs};

use super::super::Bench;
use super::super::engine::Engine;
use super::super::measure::compare;
use super::puller::FORMS;
use super::source::Source;
use crate::run::succeed;

const LAYERS: [usize; 3] = [1, 10, 60];

pub(super) fn run(bench: &Bench, source: &Source) -> anyhow::Result<()> {
    let mut engines = Vec::new();
    for form in FORMS {
        engines.push(Engine::ours(bench, &format!("loment, {form}"), &format!("loment.form={form}"))?);
    }
    engines.extend(Engine::podman(bench));
    for layers in LAYERS {
        let tag = format!("layers-{layers}");
        let name = source.publish(&bench.path(&tag), &tag, &image(bench, layers)?);
        let mut subjects = Vec::new();
        for engine in &mut engines {
            match engine.pull(&name) {
                Ok(()) => subjects.push(engine.runs()),
                Err(e) => println!("{}: not measured over {layers} layers: {e:#}", engine.program_name()),
            }
        }
        let title = format!("images: run --rm --network none over {layers} layers, /bin/true");
        compare(&title, &subjects, bench.runs)?;
    }
    Ok(())
}

/// busybox, and above it layers of a file each.
fn image(bench: &Bench, layers: usize) -> anyhow::Result<Image> {
    let (rootfs, tar) = (bench.path("busybox"), bench.path("busybox.tar"));
    if !tar.exists() {
        busybox_rootfs(&rootfs);
        succeed(
            Command::new("tar")
                .args(["--create", "--file"])
                .arg(&tar)
                .arg("--directory")
                .arg(&rootfs)
                .arg("."),
        )?;
    }
    let base = RawLayer::new(std::fs::read(&tar)?);
    let file = |n: usize| {
        RawLayer::from(Layer::of([Entry::dir("layers"), Entry::file(&format!("layers/{n}"), "x")]))
    };
    Ok(Image::new(Config::shell(), std::iter::once(base).chain((1..layers).map(file))))
}

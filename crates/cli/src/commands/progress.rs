//! Progress of a pull: bars with rates on a terminal, Podman's lines elsewhere.

use std::io::IsTerminal;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use loment_image::{LayerState, Progress};
use oci_spec::image::Descriptor;

use crate::output::complain;

/// The layers of one pull.
#[derive(Debug)]
pub(super) struct Bars {
    quiet: bool,
    terminal: bool,
    all: MultiProgress,
    bars: Vec<ProgressBar>,
}

impl Bars {
    pub(super) fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal() && !quiet;
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { quiet, terminal, all: MultiProgress::with_draw_target(target), bars: Vec::new() }
    }

    fn line(&self, text: &str) {
        if !self.quiet && !self.terminal {
            complain(text);
        }
    }

    /// The same between the bars.
    fn note(&self, text: &str) {
        // On a terminal that is gone there is nothing to see.
        let _ = self.all.println(text);
        self.line(text);
    }
}

/// A bar of a blob that has come to its end.
const DONE: &str = "Copying blob {prefix} {msg}";

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

fn short(layer: &Descriptor) -> String {
    layer.digest().digest().chars().take(12).collect()
}

impl Progress for Bars {
    fn layers(&mut self, layers: &[Descriptor]) {
        let style = style("Copying blob {prefix} [{bar:30}] {bytes} / {total_bytes} | {bytes_per_sec}");
        self.bars = layers
            .iter()
            .map(|layer| {
                let bar = self.all.add(ProgressBar::new(layer.size()));
                bar.with_style(style.clone()).with_prefix(short(layer))
            })
            .collect();
    }

    fn layer(&mut self, index: usize, layer: &Descriptor, state: LayerState) {
        let Some(bar) = self.bars.get(index) else { return };
        match state {
            LayerState::Exists | LayerState::Elsewhere => {
                let why = match state {
                    LayerState::Elsewhere => "skipped: foreign layer",
                    _ => "skipped: already exists",
                };
                bar.set_style(style(DONE));
                bar.finish_with_message(why);
                self.line(&format!("Copying blob {} {why}", layer.digest()));
            }
            LayerState::Downloading { done } => bar.set_position(done),
            LayerState::Done => {
                bar.set_position(layer.size());
                bar.set_style(style(DONE));
                bar.finish_with_message("done");
                self.line(&format!("Copying blob {}", layer.digest()));
            }
        }
    }

    fn config(&mut self, config: &Descriptor) {
        match self.terminal {
            true => self.note(&format!("Copying config {} done", short(config))),
            false => self.line(&format!("Copying config {}", config.digest())),
        }
    }

    fn manifest(&mut self) {
        self.note("Writing manifest to image destination");
    }
}

//! Progress of a pull: bars on a terminal, one line per layer elsewhere.

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

    fn line(&self, layer: &Descriptor, state: &str) {
        if !self.quiet && !self.terminal {
            complain(&format!("Copying blob {} {state}", short(layer)));
        }
    }
}

fn short(layer: &Descriptor) -> String {
    layer.digest().digest().chars().take(12).collect()
}

impl Progress for Bars {
    fn layers(&mut self, layers: &[Descriptor]) {
        let style =
            ProgressStyle::with_template("Copying blob {prefix} [{bar:30}] {bytes} / {total_bytes} {msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ");
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
            LayerState::Exists => {
                bar.finish_with_message("already exists");
                self.line(layer, "already exists");
            }
            LayerState::Downloading { done } => bar.set_position(done),
            LayerState::Done => {
                bar.set_position(layer.size());
                bar.finish_with_message("done");
                self.line(layer, "done");
            }
        }
    }
}

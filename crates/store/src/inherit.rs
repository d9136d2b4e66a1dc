//! Implied directories get the attributes the layers below give them.
//!
//! An engine that unpacks each layer onto its parents leaves a directory alone that a tar only implies. Here
//! layers are unpacked alone and shared between images, so overlayfs shows the attributes that were made up
//! for it. Which ones are right depends on the image, so they are put where an image's container has room of
//! its own: the directory is made in `upper`, which overlayfs shows first.
//!
//! The layers are looked at as overlayfs looks at them: a whiteout, an opaque directory or anything that is
//! no directory hides what stands below it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, mkdirat};
use rustix::io::Errno;

use crate::disk;
use crate::error::{Context, Error};
use crate::layer::{self, Layer};
use crate::view::{Found, Tree, open_beneath};

/// Makes, in the directory `upper`, what the implied directories of `layers` (top first) inherit.
///
/// Looks only at directories that more than one layer has, and at nothing when no layer implies any.
pub(crate) fn inherit(layers: &[&Layer], upper: &Path) -> Result<(), Error> {
    // There is nothing for the lowest layer to inherit from.
    let Some((_, above)) = layers.split_last() else { return Ok(()) };
    let mut paths: Vec<&[u8]> = above.iter().flat_map(|layer| layer.document().implied.iter()).collect();
    if paths.is_empty() {
        return Ok(());
    }
    // Each directory directly before what is below it.
    let slash = |byte: &u8| *byte == b'/';
    paths.sort_unstable_by(|a, b| a.split(slash).cmp(b.split(slash)));
    paths.dedup();
    let mut walk = Walk::new(layers, upper)?;
    for path in paths {
        walk.visit(path)?;
    }
    walk.leave(0)
}

/// One directory on the way from the root to the current one.
struct Level {
    /// End of its path in [`Walk::path`].
    end: usize,
    /// Layers whose directories overlayfs merges here, top first. Empty when it shows no directory.
    merged: Vec<usize>,
    /// It is in `upper`, its attributes still to come.
    made: bool,
}

/// A way down all layers at once. No descriptor is kept for its levels, whose number a layer chooses.
struct Walk<'l> {
    layers: &'l [&'l Layer],
    trees: Vec<Tree<'l>>,
    upper: &'l Path,
    upper_root: OwnedFd,
    path: Vec<u8>,
    levels: Vec<Level>,
}

impl<'l> Walk<'l> {
    fn new(layers: &'l [&'l Layer], upper: &'l Path) -> Result<Self, Error> {
        let trees = layers.iter().map(|layer| Tree::of(layer)).collect::<Result<_, _>>()?;
        let upper_root = layer::open_dir(upper)?;
        Ok(Self { layers, trees, upper, upper_root, path: Vec::new(), levels: Vec::new() })
    }

    /// Makes `path` in `upper` if the topmost layer that has it only implies it and another below does more.
    fn visit(&mut self, path: &[u8]) -> Result<(), Error> {
        let shared = self.levels.iter().rposition(|level| is_at_or_below(path, &self.path[..level.end]));
        self.leave(shared.map_or(0, |level| level + 1))?;
        let mut at = self.levels.last().map_or(0, |level| level.end + 1);
        while at < path.len() {
            if self.levels.last().is_some_and(|level| level.merged.len() < 2) {
                return Ok(()); // no other layer can have anything here
            }
            let end = path[at..].iter().position(|&b| b == b'/').map_or(path.len(), |n| at + n);
            self.enter(&path[..end])?;
            at = end + 1;
        }
        let Some(level) = self.levels.last() else { return Ok(()) };
        match (level.merged.first(), self.described(level)) {
            (Some(&top), Some(source)) if top != source => self.make(),
            _ => Ok(()),
        }
    }

    /// Goes down to `path`, a directory in the current one.
    fn enter(&mut self, path: &[u8]) -> Result<(), Error> {
        let all: Vec<usize>;
        let parents = match self.levels.last() {
            Some(level) => &level.merged,
            None => {
                all = (0..self.layers.len()).collect();
                &all
            }
        };
        let mut merged = Vec::new();
        for &layer in parents {
            match self.trees[layer].directory(path)? {
                Found::Directory(look) => {
                    merged.push(layer);
                    if look.is_opaque() {
                        break;
                    }
                }
                Found::Missing => {}
                Found::NoDirectory => break,
            }
        }
        self.path.clear();
        self.path.extend_from_slice(path);
        self.levels.push(Level { end: path.len(), merged, made: false });
        Ok(())
    }

    /// The topmost layer whose tar describes the directory.
    fn described(&self, level: &Level) -> Option<usize> {
        let path = &self.path[..level.end];
        level.merged.iter().copied().find(|&layer| !self.layers[layer].document().implied.contains(path))
    }

    /// Makes the current directory and those above it, as far as they are missing.
    fn make(&mut self) -> Result<(), Error> {
        let mut start = 0usize;
        for level in &mut self.levels {
            let path = &self.path[..level.end];
            if !level.made {
                let parent = open_beneath(self.upper_root.as_fd(), &path[..start.saturating_sub(1)]);
                // The attributes come last: until then nothing inherits from them or is kept out by them.
                let made = parent.and_then(|parent| mkdirat(parent, &path[start..], Mode::RWXU));
                // There already: a container's directory is made twice when the first time was cut short.
                let made = made.or_else(|errno| if errno == Errno::EXIST { Ok(()) } else { Err(errno) });
                made.during("create", &self.upper.join(disk::os_path(path)))?;
                level.made = true;
            }
            start = level.end + 1;
        }
        Ok(())
    }

    /// Goes up until `depth` levels are left. What was made on the way is finished, as nothing is put there
    /// any more that would change its times.
    fn leave(&mut self, depth: usize) -> Result<(), Error> {
        while self.levels.len() > depth {
            let Some(level) = self.levels.pop() else { break };
            // One that was made only for another below it looks as it does without.
            let source = self.described(&level).or(level.merged.first().copied());
            if let (true, Some(layer)) = (level.made, source) {
                let path = &self.path[..level.end];
                if let Found::Directory(look) = self.trees[layer].directory(path)? {
                    open_beneath(self.upper_root.as_fd(), path)
                        .and_then(|to| look.copy_to(&to))
                        .during("set attributes of", &self.upper.join(disk::os_path(path)))?;
                }
            }
            self.path.truncate(self.levels.last().map_or(0, |level| level.end));
        }
        Ok(())
    }
}

fn is_at_or_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

//! `image tree`

use clap::Parser;
use loment_engine::Engine;
use loment_store::{DiffId, NamedImage};

use super::pull::short_names;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::print;
use crate::units::exact_size;

/// Show the layers of an image as a tree
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Show the layers of images that were made from this one, instead of its own
    #[arg(long)]
    whatrequires: bool,
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
}

/// A layer, and those that stand on it.
struct Node {
    text: String,
    children: Vec<Node>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let (id, _) = engine.find_image(&flags.image, &short_names(globals)?)?;
    let images = engine.store().images().map_err(loment_engine::Error::from)?;
    let gone = || loment_engine::Error::NoImage { name: flags.image.clone() };
    let image = images.iter().find(|one| one.image.id == id).ok_or_else(gone)?;
    let layers = &image.image.layers;
    let forest = Forest { engine: &engine, images: &images };
    let mut text = format!(
        "Image ID: {}\nTags:     {}\nSize:     {}\n",
        &id.hex()[..12],
        tags([image].into_iter()),
        exact_size(image.image.size)
    );
    text += if layers.is_empty() { "No Image Layers\n" } else { "Image Layers\n" };
    let nodes = if layers.is_empty() {
        Vec::new()
    } else if flags.whatrequires {
        forest.linear(layers)?
    } else {
        (1..=layers.len())
            .map(|length| Ok(Node { text: forest.text(&layers[..length])?, children: Vec::new() }))
            .collect::<Result<_, Error>>()?
    };
    draw(&nodes, "", &mut text);
    print(&text)?;
    Ok(0)
}

struct Forest<'f> {
    engine: &'f Engine,
    images: &'f [NamedImage],
}

impl Forest<'_> {
    /// The topmost layer of a chain, and what stands on it; those without siblings follow each other.
    fn linear(&self, chain: &[DiffId]) -> Result<Vec<Node>, Error> {
        let mut nodes = Vec::new();
        let mut chain = chain.to_vec();
        loop {
            nodes.push(Node { text: self.text(&chain)?, children: Vec::new() });
            let mut next = self.above(&chain);
            if next.len() > 1 {
                for one in next {
                    let mut branch = self.linear(&one)?.into_iter();
                    if let Some(mut first) = branch.next() {
                        first.children.extend(branch);
                        nodes.push(first);
                    }
                }
                return Ok(nodes);
            }
            match next.pop() {
                Some(one) => chain = one,
                None => return Ok(nodes),
            }
        }
    }

    /// Chains that are one layer longer, in order.
    fn above(&self, chain: &[DiffId]) -> Vec<Vec<DiffId>> {
        let on_it = |image: &&NamedImage| {
            image.image.layers.len() > chain.len() && image.image.layers.starts_with(chain)
        };
        let mut found: Vec<Vec<DiffId>> = self
            .images
            .iter()
            .filter(on_it)
            .map(|image| image.image.layers[..=chain.len()].to_vec())
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    fn text(&self, chain: &[DiffId]) -> Result<String, Error> {
        let Some(top) = chain.last() else { return Ok(String::new()) };
        let layer = self.engine.store().layer(top).map_err(loment_engine::Error::from)?;
        let size = exact_size(layer.map_or(0, |layer| layer.size()));
        let owners =
            self.images.iter().filter(|image| image.image.layers == chain && !image.names.is_empty());
        let tags = tags(owners);
        let of = if tags == "[]" { String::new() } else { format!(" Top Layer of: {tags}") };
        Ok(format!("ID: {} Size: {size:>7}{of}", &top.hex()[..12]))
    }
}

/// As Go prints a list.
fn tags<'i>(images: impl Iterator<Item = &'i NamedImage>) -> String {
    let names: Vec<&str> = images.flat_map(|image| &image.names).map(|name| name.name.as_str()).collect();
    format!("[{}]", names.join(" "))
}

fn draw(nodes: &[Node], before: &str, text: &mut String) {
    for (position, node) in nodes.iter().enumerate() {
        let last = position + 1 == nodes.len();
        *text += &format!("{before}{}{}\n", if last { "└── " } else { "├── " }, node.text);
        draw(&node.children, &format!("{before}{}", if last { "    " } else { "│   " }), text);
    }
}

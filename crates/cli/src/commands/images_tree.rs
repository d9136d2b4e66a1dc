//! `images --tree`

use loment_engine::{Engine, ImageSummary, ImageTrees};
use loment_image::Reference;

use crate::error::Error;
use crate::globals::Globals;
use crate::units::human_size;

const HEADINGS: [&str; 5] = ["IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "EXTRA"];

/// A line, and whether another image begins with it.
struct Line {
    begins: bool,
    cells: [String; 5],
}

/// Images with their platforms, as Docker draws them: sizes are aligned on the right, and an empty line is before each image.
pub(super) fn text<'e>(
    globals: &Globals,
    engine: &'e Engine,
    all: &'e [ImageSummary],
    shown: &[&'e ImageSummary],
) -> Result<String, Error> {
    let mut trees = ImageTrees::new(engine, all);
    let mut lines = vec![Line { begins: false, cells: HEADINGS.map(str::to_owned) }];
    for summary in shown {
        for tree in trees.of(summary)? {
            let mut names: Vec<String> = tree.names.iter().map(|name| as_shown(globals, name)).collect();
            let last = names.pop().unwrap_or_else(|| "<untagged>".to_owned());
            let above = names
                .into_iter()
                .map(|name| [name, String::new(), String::new(), String::new(), String::new()]);
            let id = summary.image.image.id.hex();
            let own = cells(last, id, (tree.disk, tree.content), tree.in_use);
            let first = lines.len();
            lines.extend(above.chain([own]).map(|cells| Line { begins: false, cells }));
            lines[first].begins = true;
            for (position, branch) in tree.branches.iter().enumerate() {
                let corner = if position + 1 == tree.branches.len() { "└─" } else { "├─" };
                let digest = branch.digest.split_once(':').map_or("", |(_, hex)| hex);
                let name = format!("{corner} {}", branch.platform);
                let cells = cells(name, digest, (branch.disk, branch.content), branch.in_use);
                lines.push(Line { begins: false, cells });
            }
        }
    }
    Ok(aligned(&lines))
}

fn cells(name: String, digest: &str, (disk, content): (u64, u64), in_use: bool) -> [String; 5] {
    let id = digest.get(..12).unwrap_or(digest).to_owned();
    let extra = if in_use { "U" } else { "" };
    [name, id, human_size(disk, false), human_size(content, false), extra.to_owned()]
}

fn as_shown(globals: &Globals, name: &str) -> String {
    let reference = name.parse::<Reference>().ok().filter(|_| globals.persona.docker_documents);
    reference.map_or_else(|| name.to_owned(), |reference| reference.familiar())
}

fn aligned(lines: &[Line]) -> String {
    let width = |column: usize| {
        let widths = lines.iter().map(|line| line.cells[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let [name, id, disk, content] = [0, 1, 2, 3].map(width);
    let text = |line: &Line| {
        let [a, b, c, d, e] = &line.cells;
        let row = format!("{a:name$}   {b:id$}   {c:>disk$}   {d:>content$}   {e}");
        format!("{}{}\n", if line.begins { "\n" } else { "" }, row.trim_end())
    };
    lines.iter().map(text).collect()
}

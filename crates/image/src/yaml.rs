//! A YAML document as a tree that knows its lines.
//!
//! The parser below is granit-parser, which makes events; serde-saphyr, which stands on it, would bring ten crates more, among them
//! one with the tables of all encodings, and knows fewer lines.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use granit_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use crate::conf::{ConfError, File, Position};

/// Lists within lists, and maps.
const MAX_DEPTH: usize = 16;
/// Bytes of a tree with all that its aliases stand for: they multiply.
const MAX_SIZE: usize = 32 << 20;
/// What a value takes besides its text.
const NODE: usize = 64;

/// A value and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) position: Position,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text {
        text: String,
        /// Without quotes, so that it may be another thing than text.
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// A list or map that has not ended.
struct Open {
    node: Node,
    anchor: usize,
    /// Of the entry that comes, in a map.
    key: Option<String>,
    /// Those that a map has.
    keys: HashSet<String>,
}

struct Tree<'f> {
    file: File<'f>,
    open: Vec<Open>,
    /// With their sizes.
    anchors: HashMap<usize, (Rc<Node>, usize)>,
    size: usize,
    /// The document; `None` until it has ended.
    top: Option<Node>,
}

/// The only document of a file; `None` for one without any.
pub(crate) fn parse(file: File<'_>) -> Result<Option<Node>, ConfError> {
    let mut tree = Tree { file, open: Vec::new(), anchors: HashMap::new(), size: 0, top: None };
    for event in Parser::new_from_str(file.text) {
        let (event, span) = event.map_err(|error| {
            let message = error.info().lines().collect::<Vec<_>>().join(", ");
            failed(file, position(error.marker()), message)
        })?;
        let at = position(&span.start);
        match event {
            Event::DocumentStart(..) if tree.top.is_some() => {
                return Err(failed(file, at, "another document begins: only one is read"));
            }
            Event::Scalar(text, style, anchor, tag) => {
                let text_tag = tree.tag(at, tag.as_deref())?;
                let plain = style == ScalarStyle::Plain && !text_tag;
                let value = Value::Text { text: text.into_owned(), plain };
                tree.add(Node { position: at, value }, anchor)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                tree.tag(at, tag.as_deref())?;
                tree.begin(at, Value::List(Vec::new()), anchor)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                tree.tag(at, tag.as_deref())?;
                tree.begin(at, Value::Map(Vec::new()), anchor)?;
            }
            Event::SequenceEnd | Event::MappingEnd => tree.end()?,
            Event::Alias(anchor) => {
                let unknown = || failed(file, at, "this stands for something that has not ended");
                let (node, size) = tree.anchors.get(&anchor).cloned().ok_or_else(unknown)?;
                tree.grow(size, at)?;
                tree.put(Node::clone(&node))?;
            }
            _ => {}
        }
    }
    Ok(tree.top)
}

impl Tree<'_> {
    /// Whether a tag says that a value is text. Others say nothing that is of use here.
    fn tag(&self, at: Position, tag: Option<&Tag>) -> Result<bool, ConfError> {
        match tag.map(|tag| (tag.handle(), tag.suffix())) {
            None => Ok(false),
            Some(("tag:yaml.org,2002:", "str")) => Ok(true),
            Some((handle, suffix)) => {
                // As it is written, without what cannot be shown.
                let tag = format!("{handle}{suffix}");
                Err(failed(self.file, at, format!("the tag {} means nothing here", tag.escape_debug())))
            }
        }
    }

    fn begin(&mut self, position: Position, value: Value, anchor: usize) -> Result<(), ConfError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(failed(self.file, position, format!("nested more than {MAX_DEPTH} times")));
        }
        let node = Node { position, value };
        self.open.push(Open { node, anchor, key: None, keys: HashSet::new() });
        Ok(())
    }

    fn end(&mut self) -> Result<(), ConfError> {
        match self.open.pop() {
            Some(Open { node, anchor, .. }) => self.add(node, anchor),
            None => Ok(()),
        }
    }

    /// Takes a whole value that the file has.
    fn add(&mut self, node: Node, anchor: usize) -> Result<(), ConfError> {
        let own = NODE + if let Value::Text { text, .. } = &node.value { text.len() } else { 0 };
        self.grow(own, node.position)?;
        if anchor > 0 {
            let size = size(&node);
            // It is kept another time.
            self.grow(size, node.position)?;
            self.anchors.insert(anchor, (Rc::new(node.clone()), size));
        }
        self.put(node)
    }

    fn grow(&mut self, size: usize, at: Position) -> Result<(), ConfError> {
        self.size += size;
        match self.size > MAX_SIZE {
            true => {
                Err(failed(self.file, at, format!("with its aliases it is larger than {MAX_SIZE} bytes")))
            }
            false => Ok(()),
        }
    }

    /// Puts a value where it belongs.
    fn put(&mut self, node: Node) -> Result<(), ConfError> {
        let file = self.file;
        let Some(open) = self.open.last_mut() else {
            self.top = Some(node);
            return Ok(());
        };
        match &mut open.node.value {
            Value::List(items) => items.push(node),
            Value::Map(entries) => match (open.key.take(), node) {
                (Some(key), node) => entries.push((key, node)),
                (None, Node { value: Value::Text { text, .. }, position }) => {
                    if !open.keys.insert(text.clone()) {
                        return Err(failed(file, position, format!("the key {text:?} is there twice")));
                    }
                    open.key = Some(text);
                }
                (None, node) => return Err(failed(file, node.position, "a key must be text")),
            },
            Value::Text { .. } => {}
        }
        Ok(())
    }
}

fn size(node: &Node) -> usize {
    NODE + match &node.value {
        Value::Text { text, .. } => text.len(),
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(entries) => entries.iter().map(|(_, node)| size(node)).sum::<usize>(),
    }
}

fn position(marker: &Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}

pub(crate) fn failed(file: File<'_>, position: Position, message: impl Into<String>) -> ConfError {
    ConfError::Syntax { file: file.name.to_owned(), position, message: message.into() }
}

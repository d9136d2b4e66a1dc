//! `unpack FORM TAR DIRECTORY`: makes a layer of a tar in a new store, and says what that cost. For measuring.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::path::Path;
use std::time::Instant;

use loment_store::{Durability, Form, HashingSource, Store};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [form, tar, directory] = arguments.as_slice() else {
        return Err("usage: unpack dir|erofs TAR DIRECTORY".into());
    };
    let form = if form == "erofs" { Form::Erofs } else { Form::Dir };
    let root = Path::new(directory);
    let store = Store::open(&root.join("root"), &root.join("run"), Durability::Full)?.with_form(form);
    let start = Instant::now();
    let staged = store.lease()?;
    let staged = staged.unpack_layer(HashingSource::new(std::fs::File::open(tar)?))?;
    let unpacked = start.elapsed();
    let layer = staged.commit(None, None)?;
    let committed = start.elapsed();
    println!(
        "{} entries, {} bytes: {unpacked:.2?}, on disk after {committed:.2?}",
        layer.entries(),
        layer.size()
    );
    let status = std::fs::read_to_string("/proc/self/status")?;
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default());
    Ok(())
}

//! What is pulled: images of this machine's own /usr in a registry, each made when it is first wanted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use loment_testkit::{Image, Layout, Registry, Variant};
use serde_json::json;

use super::super::Bench;
use super::cost::once;
use crate::run::{output, succeed};

/// Entries of the tree.
const ENTRIES: usize = 72_000;
/// The same for somebody who tries the benchmark itself.
const SMALL: usize = 2_000;

/// How the layers of an image are made.
struct Recipe {
    layers: usize,
    media_type: &'static str,
    /// Reads a tar, writes a blob.
    compressor: &'static str,
}

const GZIP: (&str, &str) = ("application/vnd.oci.image.layer.v1.tar+gzip", "gzip -6n");
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Whose windows are 32 MiB: what zstd asks of those who decompress does not depend on how hard it has tried.
const WIDE: (&str, &str) = (ZSTD, "zstd -3 --long=25 --quiet --stdout");
/// The same with 128 MiB.
const WIDEST: (&str, &str) = (ZSTD, "zstd -3 --long=27 --quiet --stdout");

/// A registry, and what it serves.
pub(super) struct Source {
    registry: Registry,
    layout: PathBuf,
    paths: Vec<String>,
    /// Names, by tag.
    made: BTreeMap<String, String>,
    floor: Option<Vec<(&'static str, f64)>>,
}

impl Source {
    /// A registry with nothing in it.
    pub(super) fn new(bench: &Bench) -> anyhow::Result<Self> {
        let all = output(Command::new("find").args(["/usr", "-xdev"]))?;
        // A newline in a name would be two. Parents come first.
        let lines = all.lines().filter(|line| line.starts_with("/usr"));
        let paths = lines.take(if bench.small { SMALL } else { ENTRIES }).map(str::to_owned).collect();
        let layout = bench.path("layout");
        Ok(Self { registry: Registry::empty(), layout, paths, made: BTreeMap::new(), floor: None })
    }

    /// The name of an image: `large`, one layer; `ten` and `twenty`, so many of them; `wide` and `widest`, twenty and four that need
    /// large windows.
    pub(super) fn image(&mut self, tag: &str) -> anyhow::Result<String> {
        if let Some(name) = self.made.get(tag) {
            return Ok(name.clone());
        }
        let (layers, (media_type, compressor)) = match tag {
            "ten" => (10, GZIP),
            "twenty" => (20, GZIP),
            "wide" => (20, WIDE),
            "widest" => (4, WIDEST),
            _ => (1, GZIP),
        };
        let what = make(&self.layout, tag, &self.paths, &Recipe { layers, media_type, compressor })?;
        println!("\nimages: {tag}: {what}");
        let name = self.registry.name(&format!("bench:{tag}"));
        let (from, to) = (format!("oci:{}:{tag}", self.layout.display()), format!("docker://{name}"));
        let mut push = Command::new("skopeo");
        push.args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", &from, &to]);
        succeed(push.stdout(Stdio::null()))?;
        if tag == "large" {
            self.floor = Some(stages(&self.layout)?);
        }
        fs::remove_dir_all(&self.layout).context("remove a layout")?;
        self.made.insert(tag.to_owned(), name.clone());
        Ok(name)
    }

    /// Makes a pull as dear as it is when nothing was removed before it. ext4 does not use the inode of a file again for five minutes
    /// (`recently_deleted`, fs/ext4/ialloc.c) and looks at each such inode whenever one is made, as long as their table is cached:
    /// whoever pulls after another was cleared away would pay for that. What is served is cached, as before.
    pub(super) fn settle(&self) -> anyhow::Result<()> {
        rustix::fs::sync();
        if fs::write("/proc/sys/vm/drop_caches", "1").is_err() {
            println!("  caches cannot be dropped: who pulls after many files were removed pays for it");
        }
        let mut read = Command::new("find");
        read.arg(self.registry.storage()).args(["-type", "f", "-exec", "cat", "{}", "+"]);
        succeed(read.stdout(Stdio::null()))
    }

    /// Puts an image made elsewhere in the registry; its name.
    pub(super) fn publish(&self, dir: &Path, tag: &str, image: &Image) -> String {
        let mut layout = Layout::create(dir);
        layout.add(tag, image, loment_testkit::Compression::Gzip);
        let name = self.registry.name(&format!("bench:{tag}"));
        layout.push(tag, &name, Variant::AsIs);
        name
    }

    /// What no pull of `large` can be faster than, each alone on one processor, in seconds: the digest of the tar, inflating it, and
    /// writing it.
    pub(super) fn floor(&mut self) -> anyhow::Result<&[(&'static str, f64)]> {
        self.image("large")?;
        Ok(self.floor.as_deref().unwrap_or_default())
    }
}

/// Adds an image of those files to a layout; says what it is.
fn make(layout: &Path, tag: &str, paths: &[String], recipe: &Recipe) -> anyhow::Result<String> {
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).context("make a layout")?;
    let (mut descriptors, mut diff_ids, mut size, mut tar) = (Vec::new(), Vec::new(), 0, 0);
    for part in paths.chunks(paths.len().div_ceil(recipe.layers)) {
        let (list, blob, sum) = (layout.join("list"), layout.join("blob"), layout.join("sum"));
        fs::write(&list, part.join("\n")).context("write a list of files")?;
        let script = "mkfifo \"$3.pipe\" && { sha256sum <\"$3.pipe\" >\"$3\" & } && \
            tar --create --no-recursion --ignore-failed-read --directory / --files-from \"$1\" 2>/dev/null | \
            tee \"$3.pipe\" \"$2.tar\" | $4 >\"$2\" && wait && rm \"$3.pipe\"";
        let mut sh = Command::new("sh");
        succeed(sh.args(["-c", script, "sh"]).args([&list, &blob, &sum]).arg(recipe.compressor))?;
        let read = |path: &Path| fs::read_to_string(path).context("read a digest");
        diff_ids.push(format!("sha256:{}", read(&sum)?.split(' ').next().unwrap_or_default()));
        let digest = output(Command::new("sha256sum").arg(&blob))?;
        let hex = digest.split(' ').next().unwrap_or_default().to_owned();
        let bytes = fs::metadata(&blob).context("look at a layer")?.len();
        tar += fs::metadata(layout.join("blob.tar")).context("look at a layer")?.len();
        size += bytes;
        descriptors.push(json!({"mediaType": recipe.media_type,
            "size": bytes, "digest": format!("sha256:{hex}")}));
        fs::rename(&blob, blobs.join(hex)).context("keep a layer")?;
    }
    publish(layout, tag, &diff_ids, &descriptors)?;
    Ok(format!(
        "{} layers, {} entries, tar {} MB, compressed ({}) {} MB",
        recipe.layers,
        paths.len(),
        tar / 1_000_000,
        recipe.compressor,
        size / 1_000_000
    ))
}

/// Writes the documents of an image.
fn publish(
    layout: &Path,
    tag: &str,
    diff_ids: &[String],
    descriptors: &[serde_json::Value],
) -> anyhow::Result<()> {
    let add = |media_type: &str, value: &serde_json::Value| -> anyhow::Result<serde_json::Value> {
        let bytes = value.to_string();
        let digest = loment_testkit::digest(bytes.as_bytes());
        let path = layout.join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
        fs::write(path, &bytes).context("write a document")?;
        Ok(json!({"mediaType": media_type, "size": bytes.len(), "digest": digest}))
    };
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({"os": "linux", "architecture": architecture, "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = add("application/vnd.oci.image.config.v1+json", &config)?;
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": descriptors});
    let mut manifest = add(kind, &manifest)?;
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(layout.join("index.json"), index.to_string()).context("write an index")?;
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).context("write a layout")
}

/// Measures what [`Source::floor`] tells.
fn stages(layout: &Path) -> anyhow::Result<Vec<(&'static str, f64)>> {
    let tar = layout.join("blob.tar").display().to_string();
    let blobs = fs::read_dir(layout.join("blobs/sha256")).context("list blobs")?.flatten();
    let blob = blobs.max_by_key(|b| b.metadata().map_or(0, |m| m.len())).context("there is a blob")?.path();
    let blob = blob.display().to_string();
    let (from, to) = (format!("if={tar}"), format!("of={}", layout.join("sink").display()));
    let stages: [(&str, &[&str]); 3] = [
        ("sha256 (openssl)", &["openssl", "dgst", "-sha256", &tar]),
        ("inflate (gzip)", &["gzip", "--decompress", "--stdout", &blob]),
        ("write (dd, flushed)", &["dd", &from, &to, "bs=1M", "conv=fdatasync", "status=none"]),
    ];
    let mut measured = Vec::new();
    for (name, words) in stages {
        match once(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()) {
            Ok(cost) => {
                println!("  {name:<24} {:>8.2} s", cost.wall);
                measured.push((name, cost.wall));
            }
            Err(e) => println!("  {name:<24} not measured: {e:#}"),
        }
    }
    Ok(measured)
}

//! Templates and the images that they are made from: lists, what a prune frees, and what a build has made.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::closing::headed;
use super::table::{Cell, Table, labelled};
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::engine::images::template::Manifest;
use crate::engine::images::templates::Template;
use crate::host::download::Leftover;
use crate::lab::catalogue::Entry;

/// Shown for what is not known.
const UNKNOWN: &str = "-";
/// What a template's own list of programs calls those whose versions are told.
const TOLD: [(&str, &str); 3] =
    [("Kubernetes", "kubeadm"), ("Cilium", "cilium"), ("containerd", "containerd")];

/// One template in the home folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TemplateLine {
    pub key: String,
    pub finished: bool,
    /// The image's name; none before its disk is written, like all that its manifest tells.
    pub image: Option<String>,
    pub image_url: Option<String>,
    pub image_digest: Option<String>,
    /// The version of Kubernetes in it; none before the bake is done.
    pub kubernetes: Option<String>,
    /// Program → version, as the bake read them.
    pub programs: BTreeMap<String, String>,
    /// Debian package → version.
    pub packages: BTreeMap<String, String>,
    /// The version of fusionlab that made it.
    pub fusionlab: Option<String>,
    /// When it came to where it is, in RFC 3339.
    pub since: Option<String>,
    /// Size of its disk as its machines see it.
    pub capacity: Option<u64>,
    /// Room that it takes.
    pub bytes: u64,
    /// Labs whose VMs were made from it.
    pub used_by: Vec<String>,
    /// VMX files of the machines whose disks hang on its own.
    pub hanging: Vec<PathBuf>,
    pub folder: PathBuf,
}

/// One image of the catalogue, for this Mac's processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageLine {
    pub entry: Entry,
    /// Whether it was downloaded already.
    pub cached: bool,
}

/// What may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prunable {
    pub templates: Vec<TemplateLine>,
    pub downloads: Vec<Leftover>,
}

impl Prunable {
    pub fn is_empty(&self) -> bool {
        self.templates.is_empty() && self.downloads.is_empty()
    }

    /// Returns the room that all of it takes.
    pub fn bytes(&self) -> u64 {
        let templates = self.templates.iter().map(|template| template.bytes);
        templates.chain(self.downloads.iter().map(|download| download.bytes)).sum()
    }
}

impl TemplateLine {
    pub fn of(template: Template) -> Self {
        let finished = template.is_finished();
        let manifest = template.manifest.as_ref();
        let of_image = |part: fn(&Manifest) -> &String| manifest.map(part).cloned();
        let baked = manifest.and_then(|manifest| manifest.baked.clone()).unwrap_or_default();
        Self {
            finished,
            image: of_image(|manifest| &manifest.image.name),
            image_url: of_image(|manifest| &manifest.image.url),
            image_digest: of_image(|manifest| &manifest.image.digest),
            kubernetes: baked.programs.get("kubeadm").map(|version| plain(version).to_owned()),
            programs: baked.programs,
            packages: baked.packages,
            fusionlab: of_image(|manifest| &manifest.fusionlab),
            since: of_image(|manifest| &manifest.since),
            capacity: manifest.map(|manifest| manifest.disk.capacity),
            bytes: template.bytes,
            used_by: template.used_by,
            hanging: template.hanging,
            folder: template.dir.root,
            key: template.dir.key,
        }
    }
}

const NONE: &str = "no templates yet; up makes one, template build makes one alone";

/// Returns both lists, each under its heading.
pub fn lists(templates: &[TemplateLine], images: &[ImageLine], pen: &Pen) -> Vec<String> {
    let mut lines = match templates {
        [] => words::wrap(NONE, pen.prose_width()),
        _ => template_table(templates).lines(pen),
    };
    lines.push(String::new());
    lines.extend(image_table(images).lines(pen));
    lines
}

fn template_table(templates: &[TemplateLine]) -> Table {
    let mut table = Table::new(["TEMPLATE", "IMAGE", "KUBERNETES", ">SIZE", "SINCE", "USED BY"])
        .leaving_out(["SINCE", "SIZE"]);
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| UNKNOWN.to_owned());
    for template in templates {
        let used_by = match (template.finished, template.used_by.as_slice()) {
            (_, labs @ [_, ..]) => Cell::plain(labs.join(", ")),
            (_, []) if !template.hanging.is_empty() => {
                Cell::plain(words::count(template.hanging.len(), "machine"))
            }
            (false, _) => Cell::inked(Ink::Warn, "unfinished"),
            (true, _) => Cell::inked(Ink::Dim, "nobody"),
        };
        table.row([
            Cell::plain(&template.key),
            Cell::plain(text(&template.image)),
            Cell::plain(text(&template.kubernetes)),
            Cell::plain(words::bytes(template.bytes)),
            Cell::plain(text(&template.since)),
            used_by,
        ]);
    }
    table
}

fn image_table(images: &[ImageLine]) -> Table {
    let mut table = Table::new(["CATALOGUE", "FOR", ">SIZE", "FILE", "HERE", "SUMMARY"])
        .leaving_out(["SUMMARY", "FILE", "SIZE"]);
    for ImageLine { entry, cached } in images {
        let (image, name) = (&entry.image, &entry.image.name);
        table.row([
            Cell::plain(if entry.is_default { format!("{name} (default)") } else { name.clone() }),
            Cell::plain(image.arch.word()),
            Cell::plain(image.size.map_or_else(|| UNKNOWN.to_owned(), words::bytes)),
            Cell::plain(if image.is_pinned() { "pinned" } else { "the newest" }),
            if *cached { Cell::inked(Ink::Good, "yes") } else { Cell::inked(Ink::Dim, "no") },
            Cell::inked(Ink::Dim, entry.summary),
        ]);
    }
    table
}

/// Returns the JSON form of the catalogue's images.
pub fn images_json(images: &[ImageLine]) -> Vec<Value> {
    let json = |line: &ImageLine| {
        let ImageLine { entry, cached } = line;
        json!({
            "image": entry.image,
            "summary": entry.summary,
            "pinned": entry.image.is_pinned(),
            "default": entry.is_default,
            "cached": cached,
        })
    };
    images.iter().map(json).collect()
}

/// Returns what would be removed, before it is asked about.
pub fn prunable(prunable: &Prunable, pen: &Pen) -> Vec<String> {
    let mut lines = Vec::new();
    if !prunable.templates.is_empty() {
        lines.extend(template_table(&prunable.templates).lines(pen));
    }
    if !prunable.downloads.is_empty() {
        lines.push(format!("{}, broken off", words::count(prunable.downloads.len(), "download")));
    }
    lines.push(String::new());
    lines.push(format!("{} would be given back.", words::bytes(prunable.bytes())));
    lines
}

/// Returns what tells what was removed.
pub fn pruned(removed: &Prunable, pen: &Pen) -> Vec<String> {
    if removed.is_empty() {
        let text = "nothing to remove: every template is used, and no download was broken off";
        return words::wrap(text, pen.prose_width());
    }
    let counts = [(removed.templates.len(), "template"), (removed.downloads.len(), "broken-off download")];
    let counts = counts.iter().filter(|(number, _)| *number > 0);
    let counts: Vec<String> = counts.map(|(number, noun)| words::count(*number, noun)).collect();
    vec![format!("{} removed, {} given back", counts.join(" and "), words::bytes(removed.bytes()))]
}

/// Returns the closing block of `template build`.
pub fn ready(line: &TemplateLine, took: Duration, changed: usize, flags: &str, pen: &Pen) -> Vec<String> {
    let took = words::duration(took);
    let head = match changed {
        0 => format!("the template is here; nothing had to be done ({took})"),
        _ => format!("the template is ready after {took}"),
    };
    let mut pairs = vec![("key", line.key.clone())];
    pairs.extend(line.image.clone().map(|image| ("image", image)));
    let versions = TOLD
        .iter()
        .filter_map(|(name, program)| Some(format!("{name} {}", plain(line.programs.get(*program)?))));
    let versions: Vec<String> = versions.collect();
    if !versions.is_empty() {
        pairs.push(("holds", versions.join(", ")));
    }
    pairs.push(("size", words::bytes(line.bytes)));
    pairs.push(("folder", line.folder.display().to_string()));
    let mut lines = headed(&head, "", pen);
    lines.push(String::new());
    lines.extend(labelled(pairs, pen).into_iter().map(|line| format!("  {line}")));
    lines.push(String::new());
    let flags = if flags.is_empty() { String::new() } else { format!("{flags} ") };
    let up = pen.paint(Ink::Accent, &format!("fusionlab {flags}up"));
    lines.push(format!("  {up}  {}", pen.paint(Ink::Dim, "clones from it")));
    lines
}

fn plain(version: &str) -> &str {
    version.strip_prefix('v').unwrap_or(version)
}

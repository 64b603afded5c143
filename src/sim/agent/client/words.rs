//! A command's words as the world can read them: absolute paths, and the kubeconfig that the environment names.

use std::path::Path;

use super::{Called, Place};

/// Flags whose value is a file.
const FILE_FLAGS: [&str; 5] = ["-f", "--filename", "--values", "--config", "--kubeconfig"];

/// Completes a command's words.
pub fn complete(place: &dyn Place, called: &Called) -> Vec<String> {
    let folder = place.folder();
    let mut words = Vec::new();
    let mut names_file = false;
    for word in &called.args {
        let (flag, value) = match word.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (Some(flag), value),
            _ => (None, word.as_str()),
        };
        let file =
            names_file || flag.is_some_and(|flag| FILE_FLAGS.contains(&flag)) || value.ends_with(".tgz");
        let value = if file { absolute(&folder, value) } else { value.to_owned() };
        words.push(flag.map_or(value.clone(), |flag| format!("{flag}={value}")));
        names_file = FILE_FLAGS.contains(&word.as_str());
    }
    let talks = matches!(called.program.as_str(), "kubectl" | "helm");
    if talks && !words.iter().any(|word| word.starts_with("--kubeconfig")) {
        let home = || Some(format!("{}/.kube/config", place.variable("HOME")?));
        if let Some(path) = place.variable("KUBECONFIG").or_else(home) {
            let first = path.split(':').next().unwrap_or_default().to_owned();
            words.splice(0..0, ["--kubeconfig".to_owned(), first]);
        }
    }
    words
}

/// Says whether a command reads its standard input.
pub fn reads_input(words: &[String]) -> bool {
    words.iter().any(|word| word == "-" || word.ends_with("/dev/stdin"))
}

fn absolute(folder: &Path, value: &str) -> String {
    if value == "-" || value.starts_with('/') || value.contains("://") {
        return value.to_owned();
    }
    folder.join(value).to_string_lossy().into_owned()
}

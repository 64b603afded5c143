//! What became of the user's kubeconfig: its path, a line for each entry, and the context that kubectl uses.

use serde_json::{Value, json};

use super::plan;
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::engine::access::kubeconfig::Touched;
use crate::formats::kubeconfig::Deed;

/// Columns before an entry.
const INDENT: usize = 2;

/// Returns what a merge did; `file` is the file's path as the user would type it.
pub fn merged(lab: &str, touched: &Touched, file: &str, pen: &Pen) -> Vec<String> {
    let edited = &touched.edited;
    let head = if edited.deeds.is_empty() { "has all of it already" } else { "has the lab's entries" };
    let mut lines = changed(file, head, &edited.deeds, pen);
    let last = match &edited.current {
        Some(current) if current == lab => format!("kubectl uses the context {lab} now"),
        Some(current) => format!(
            "kubectl goes on with the context {current}: say `kubectl --context {lab}`, or merge with --use"
        ),
        None => format!("say `kubectl --context {lab}`"),
    };
    lines.extend(
        words::wrap(&last, pen.prose_width().saturating_sub(INDENT)).iter().map(|line| format!("  {line}")),
    );
    lines
}

/// Returns what is said of a file that others on this Mac may read: it holds an administrator's key now.
pub fn open_to_others(file: &str, mode: u32, pen: &Pen) -> Vec<String> {
    let text = format!(
        "others may read {file} (mode {mode:04o}), which holds the lab's administrator now: chmod 600 {file}"
    );
    words::marked(&pen.paint(Ink::Warn, "!"), &text, pen.prose_width().saturating_sub(INDENT))
}

/// Returns what a removal did.
pub fn removed(touched: &Touched, file: &str, pen: &Pen) -> Vec<String> {
    let mut lines = changed(file, "is without the lab's entries", &touched.edited.deeds, pen);
    if touched.edited.deeds.contains(&Deed::Current(None)) {
        let text = "there is no current context now: `kubectl config use-context` sets one";
        let text = words::wrap(text, pen.prose_width().saturating_sub(INDENT));
        lines.extend(text.iter().map(|line| format!("  {line}")));
    }
    lines
}

/// Returns what is said where nothing was found.
pub fn nothing_removed(lab: &str, pen: &Pen) -> Vec<String> {
    vec![format!("{} no kubeconfig has entries of the lab \"{lab}\"", pen.paint(Ink::Good, pen.tick()))]
}

fn changed(file: &str, head: &str, deeds: &[Deed], pen: &Pen) -> Vec<String> {
    let mut lines =
        vec![format!("{} {} {head}", pen.paint(Ink::Good, pen.tick()), pen.paint(Ink::Strong, file))];
    lines.extend(deeds.iter().map(|deed| plan::changed(&line(deed), INDENT, pen)));
    lines
}

/// Returns a deed as a line of a diff.
fn line(deed: &Deed) -> String {
    match deed {
        Deed::Added(kind, name) => format!("+{kind} {name}"),
        Deed::Replaced(kind, name) => format!("~{kind} {name}"),
        Deed::Removed(kind, name) => format!("-{kind} {name}"),
        Deed::Current(Some(name)) => format!("~current-context {name}"),
        Deed::Current(None) => "-current-context".to_owned(),
    }
}

/// Returns the JSON form of one file.
pub fn json(touched: &Touched) -> Value {
    let deed = |deed: &Deed| match deed {
        Deed::Added(kind, name) => json!({ "did": "added", "kind": kind, "name": name }),
        Deed::Replaced(kind, name) => json!({ "did": "replaced", "kind": kind, "name": name }),
        Deed::Removed(kind, name) => json!({ "did": "removed", "kind": kind, "name": name }),
        Deed::Current(name) => json!({ "did": "selected", "kind": "current-context", "name": name }),
    };
    let changes: Vec<Value> = touched.edited.deeds.iter().map(deed).collect();
    json!({ "file": touched.file, "changes": changes, "current_context": touched.edited.current })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::kubeconfig::Edited;

    fn touched(deeds: Vec<Deed>, current: Option<&str>) -> Touched {
        let edited = Edited { text: String::new(), deeds, current: current.map(str::to_owned) };
        Touched { file: "/Users/me/.kube/config".into(), edited }
    }

    #[test]
    fn each_entry_is_named_and_who_is_used_is_said() {
        let one = touched(vec![Deed::Added("cluster", "lab".to_owned())], Some("work"));
        let text = merged("lab", &one, "~/.kube/config", &Pen::plain(80)).join("\n");
        assert!(text.starts_with("✓ ~/.kube/config has the lab's entries\n  +cluster lab\n"), "{text}");
        assert!(text.contains("context work") && text.contains("kubectl --context lab"), "{text}");
        let text = merged("lab", &touched(vec![], Some("lab")), "x", &Pen::plain(80)).join("\n");
        assert_eq!(text, "✓ x has all of it already\n  kubectl uses the context lab now");
        let gone = touched(vec![Deed::Removed("user", "lab-admin".to_owned()), Deed::Current(None)], None);
        let text = removed(&gone, "x", &Pen::plain(80)).join("\n");
        assert!(text.contains("  -user lab-admin\n") && text.contains("use-context"), "{text}");
    }
}

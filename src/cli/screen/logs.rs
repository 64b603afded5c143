//! Lines that machines wrote down: the time, the machine where there are several, the source, the text.

use serde_json::{Value, json};

use crate::cli::error::Failure;
use crate::cli::terminal::{Ink, Pen};
use crate::host::clock;
use crate::lab::Node;
use crate::stack::logs::{Entry, Source};

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.logs/1";
/// The width of a time of day.
const TIME: usize = 8;
const MS: u64 = 1000;

/// How wide the columns are that stand before each text.
pub struct Columns {
    /// None where all lines are one machine's.
    node: Option<usize>,
    source: usize,
}

impl Columns {
    pub fn of(nodes: &[Node], sources: &[Source]) -> Self {
        let widest = nodes.iter().map(|node| node.name.len()).max().unwrap_or_default();
        let source = sources.iter().map(|source| source.name().len()).max().unwrap_or_default();
        Self { node: (nodes.len() > 1).then_some(widest), source }
    }

    pub fn line(&self, node: &str, entry: &Entry, pen: &Pen) -> String {
        let time = entry.at_ms.map_or_else(|| pen.none().to_owned(), |ms| clock::moment(ms / MS));
        let mut line = pen.paint(Ink::Dim, &format!("{time:TIME$}"));
        if let Some(width) = self.node {
            line += &format!("  {}", pen.paint(Ink::Accent, &format!("{node:width$}")));
        }
        line += &format!(
            "  {}",
            pen.paint(Ink::Dim, &format!("{:width$}", entry.source.name(), width = self.source))
        );
        if let Some(by) = &entry.by {
            line += &format!("  {}:", pen.paint(Ink::Strong, by));
            return line + " " + &entry.text;
        }
        line + "  " + &entry.text
    }
}

/// Says that a machine is not reached just now.
pub fn waits(node: &str, failure: &Failure, pen: &Pen) -> Vec<String> {
    let why = match failure {
        Failure::Report(report) => report.what.clone(),
        _ => "not reached".to_owned(),
    };
    vec![pen.paint(Ink::Warn, &format!("{node}: {why}; it is asked again"))]
}

pub fn json(lab: &str, simulated: bool, node: &str, entry: &Entry) -> Value {
    json!({
        "schema": SCHEMA,
        "lab": lab,
        "simulated": simulated,
        "node": node,
        "source": entry.source,
        "at": entry.at_ms.map(|ms| clock::rfc3339(ms / MS)),
        "by": entry.by,
        "text": entry.text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::screen::status::tests::lab;

    #[test]
    fn columns_align_whatever_they_hold() {
        let lab = lab();
        let columns = Columns::of(&lab.nodes, &Source::ALL);
        let entry = |source, by: Option<&str>| Entry {
            at_ms: None,
            source,
            by: by.map(str::to_owned),
            text: "text".to_owned(),
        };
        let pen = Pen::plain(80);
        let lines = [
            columns.line("gateway1", &entry(Source::Console, None), &pen),
            columns.line("k8s-master1", &entry(Source::Journal, Some("nginx")), &pen),
        ];
        assert_eq!(
            lines,
            ["–         gateway1     console     text", "–         k8s-master1  journal     nginx: text"]
        );
        let one = Columns::of(&lab.nodes[..1], &[Source::Journal]);
        assert_eq!(one.line("gateway1", &entry(Source::Journal, None), &pen), "–         journal  text");
    }
}

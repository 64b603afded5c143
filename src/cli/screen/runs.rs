//! Runs that look at a lab must know of: one that was cut off, with what it may have left, and one that is at work.

use crate::cli::terminal::{Ink, Pen};
use crate::cli::words::wrap;
use crate::engine::journal::runs::CutOff;
use crate::host::lock::Holder;

/// Returns an empty line and what is to be said, or nothing.
pub fn lines(cut_off: Option<&CutOff>, at_work: Option<&Holder>, pen: &Pen) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(Holder { pid, verb, .. }) = at_work {
        let since = at_work.map(Holder::since_when).unwrap_or_default();
        let text = format!(
            "`{verb}` is at work on this lab since {since} (process {pid}): what is shown may change"
        );
        lines.extend(paragraph(&text, Ink::Warn, "", pen));
    }
    if let Some(cut_off) = cut_off {
        lines.extend(paragraph(&goes_on(cut_off), Ink::Warn, "", pen));
        for open in cut_off.steps.iter().filter(|open| !open.effects.is_empty()) {
            let left: Vec<&str> = open.effects.iter().map(|effect| effect.what).collect();
            let text = format!("{} may have left {}", open.step, left.join(", or "));
            lines.extend(paragraph(&text, Ink::Dim, "  ", pen));
        }
    }
    if !lines.is_empty() {
        lines.insert(0, String::new());
    }
    lines
}

/// Says of a run that was cut off who goes on from what it left.
pub fn goes_on(cut_off: &CutOff) -> String {
    format!("{}; the next `up` or `destroy` goes on from what stands", cut_off.sentence())
}

fn paragraph(text: &str, ink: Ink, indent: &str, pen: &Pen) -> Vec<String> {
    let width = pen.prose_width().saturating_sub(indent.len());
    wrap(text, width).iter().map(|line| format!("{indent}{}", pen.paint(ink, line))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::journal::runs::OpenStep;

    #[test]
    fn a_run_that_was_cut_off_is_told_with_what_it_may_have_left() {
        let steps = vec![OpenStep::of("vm.clone/gateway1".to_owned())];
        let cut_off = CutOff { verb: "up".to_owned(), pid: 4711, at_ms: 1_000, steps };
        let shown = lines(Some(&cut_off), None, &Pen::plain(80));
        assert!(shown.iter().all(|line| line.len() <= 80), "{shown:#?}");
        let text = shown.join(" ");
        assert!(text.contains("the last `up` (process 4711) was cut off at 1970-01-01T00:00:01Z"), "{text}");
        assert!(text.contains("vm.clone/gateway1 may have left half a clone, or "), "{text}");
        assert_eq!(lines(None, None, &Pen::plain(80)), Vec::<String>::new());
    }
}

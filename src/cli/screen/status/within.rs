//! A status in a window of few rows: the lab's own state stays, and rows of machines give way.

use super::{Kubernetes, NodeStatus, Status, Vm};
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words::count;
use crate::host::fusion::Fusion;
use crate::lab::Lab;

impl Status {
    /// Returns the lines for a window of so many rows. What machines use gives way first, then machines that are as they
    /// should be, then the others; a line says what is not shown. The lab's own state stays.
    pub fn within(&self, rows: usize, lab: &Lab, fusion: &Fusion, pen: &Pen) -> Vec<String> {
        let whole = self.lines(lab, fusion, pen);
        if whole.len() <= rows {
            return whole;
        }
        let mut shown = self.nodes.clone();
        let stand_apart = self.uses_stand_apart(pen);
        if stand_apart {
            shown.iter_mut().for_each(|node| node.resources = None);
        }
        loop {
            let hidden = self.nodes.len() - shown.len();
            let parts = [
                (hidden > 0).then(|| count(hidden, "machine")),
                stand_apart.then(|| "what machines use".to_owned()),
            ];
            let parts = parts.into_iter().flatten().collect::<Vec<_>>().join(" and ");
            let note =
                pen.paint(Ink::Warn, &pen.fit(&format!("not shown in so low a window: {parts}"), pen.width));
            let lines = self.lines_with(&shown, Some(note), lab, fusion, pen);
            let last_well = shown.iter().rposition(NodeStatus::is_well);
            let Some(least) = last_well.or(shown.len().checked_sub(1)) else { return lines };
            if lines.len() <= rows {
                return lines;
            }
            shown.remove(least);
        }
    }
}

impl NodeStatus {
    fn is_well(&self) -> bool {
        self.vm == Vm::Running
            && self.guest.as_deref() == Some("done")
            && self.services.is_none()
            && self.kubernetes.is_none_or(|state| state == Kubernetes::Ready)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{fusion, lab, look};
    use super::*;

    fn within(rows: usize, width: usize) -> Vec<String> {
        let (lab, fusion) = (lab(), fusion(true));
        Status::of(&lab, &look(), &fusion).within(rows, &lab, &fusion, &Pen::plain(width))
    }

    #[test]
    fn the_labs_own_state_stays_and_machines_that_are_well_go_first() {
        let whole = within(100, 80);
        let summary = |lines: &[String]| {
            let start = lines.iter().position(|line| line.starts_with("network ")).unwrap();
            lines[start..].to_vec()
        };
        for width in [60, 80, 160] {
            let all = within(100, width);
            for rows in summary(&all).len() + 6..all.len() {
                let lines = within(rows, width);
                assert!(lines.len() <= rows, "{rows} at {width}: {lines:#?}");
                assert_eq!(summary(&lines), summary(&all), "{rows} at {width}");
                assert!(lines.iter().any(|line| line.starts_with("not shown in so low")), "{lines:#?}");
            }
        }
        let without_uses = within(whole.len() - 1, 80).join("\n");
        assert!(without_uses.contains("a window: what machines use\n") && without_uses.contains("gateway1"));
        let low = within(whole.len() - 5, 80).join("\n");
        assert!(low.contains("a window: 1 machine and what machines use\n"), "{low}");
        assert!(
            low.contains("\ngateway2 ") && !low.contains("\nk8s-master1 "),
            "the one that is off is shown: {low}"
        );
    }
}

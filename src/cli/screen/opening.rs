//! The first line of a run: which lab, how large, on which Fusion.

use crate::cli::terminal::{Ink, Pen};
use crate::cli::words::count;
use crate::host::fusion::Fusion;
use crate::lab::{Lab, Role};

/// Returns `lab  ·  2 gateways, 3 control planes, 2 workers  ·  VMware Fusion 26H1 (simulated)`, on as many lines as
/// it takes: that it is simulated must never be cut off.
pub fn lines(lab: &Lab, fusion: &Fusion, pen: &Pen) -> Vec<String> {
    let parts = [pen.paint(Ink::Strong, &lab.name), topology(lab), fusion_name(fusion, pen)];
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        let joined = lines.last().map(|line| [line, part.as_str()].join(pen.separator()));
        match joined.filter(|line| console::measure_text_width(line) <= pen.width) {
            Some(joined) => *lines.last_mut().expect("there is a line to join") = joined,
            None => lines.push(part),
        }
    }
    lines
}

/// Returns `2 gateways, 3 control planes, 2 workers`, without the roles that the lab does not have.
pub fn topology(lab: &Lab) -> String {
    Role::ALL
        .into_iter()
        .map(|role| (lab.of_role(role).count(), role))
        .filter(|(number, _)| *number > 0)
        .map(|(number, role)| count(number, role.noun()))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Returns `VMware Fusion 26H1`, and says so if it is simulated.
pub fn fusion_name(fusion: &Fusion, pen: &Pen) -> String {
    let name = format!("VMware Fusion {}", fusion.version);
    if fusion.simulated { format!("{name} {}", pen.paint(Ink::Warn, "(simulated)")) } else { name }
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::{fusion, lab};
    use super::*;

    #[test]
    fn a_simulation_is_never_passed_off_as_real() {
        let lab = lab();
        let shown = |simulated, width| lines(&lab, &fusion(simulated), &Pen::plain(width));
        assert_eq!(
            shown(true, 100),
            ["lab  ·  2 gateways, 1 control plane  ·  VMware Fusion 26H1 (simulated)"]
        );
        assert_eq!(
            shown(true, 60),
            ["lab  ·  2 gateways, 1 control plane", "VMware Fusion 26H1 (simulated)"]
        );
        assert!(!shown(false, 100).concat().contains("simulated"));
    }
}

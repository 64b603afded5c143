//! The first line of a run: which lab, how large, on which Fusion.

use crate::cli::terminal::{Ink, Pen};
use crate::cli::words::count;
use crate::host::fusion::Fusion;
use crate::lab::{Lab, Role};

/// Returns `lab  ·  2 gateways, 3 control planes, 2 workers  ·  VMware Fusion 26H1 (simulated)`.
pub fn line(lab: &Lab, fusion: &Fusion, pen: &Pen) -> String {
    let name = pen.paint(Ink::Strong, &lab.name);
    let line = [name, topology(lab), fusion_name(fusion, pen)].join(pen.separator());
    pen.fit(&line, pen.width)
}

/// Returns `2 gateways, 3 control planes, 2 workers`, without the roles that the lab does not have.
pub fn topology(lab: &Lab) -> String {
    [(Role::Gateway, "gateway"), (Role::ControlPlane, "control plane"), (Role::Worker, "worker")]
        .into_iter()
        .map(|(role, noun)| (lab.of_role(role).count(), noun))
        .filter(|(number, _)| *number > 0)
        .map(|(number, noun)| count(number, noun))
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
        assert_eq!(
            line(&lab, &fusion(true), &Pen::plain(100)),
            "lab  ·  2 gateways, 1 control plane  ·  VMware Fusion 26H1 (simulated)"
        );
        assert!(!line(&lab, &fusion(false), &Pen::plain(100)).contains("simulated"));
    }
}

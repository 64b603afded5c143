//! Which machines a verb is about: by name, by role, or all of them.

use clap::{Args, ValueEnum};

use super::candidates;
use super::error::from_names;
use super::error::{Failure, Report};
use crate::engine::guests::Wanted;
use crate::lab::{Lab, Node, Role};

/// What every verb takes that goes into guests.
#[derive(Args, Clone, Debug, Default)]
pub struct GuestsArgs {
    /// Machines by name, such as gateway1
    #[arg(add = candidates::machines(), value_name = "MACHINE")]
    nodes: Vec<String>,

    /// Every machine of the lab
    #[arg(long, conflicts_with_all = ["nodes", "role"])]
    all: bool,

    /// The machines of a role; may be repeated
    #[arg(long, value_enum, value_name = "ROLE")]
    role: Vec<RoleName>,
}

/// What a machine is in the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleName {
    Gateway,
    ControlPlane,
    Worker,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Gateway => Self::Gateway,
            RoleName::ControlPlane => Self::ControlPlane,
            RoleName::Worker => Self::Worker,
        }
    }
}

impl GuestsArgs {
    /// Returns the machines that are meant: one at least.
    pub fn chosen(&self, lab: &Lab) -> Result<Vec<Node>, Failure> {
        if self.nodes.is_empty() && self.role.is_empty() && !self.all {
            return Err(from_names::no_node(lab).into());
        }
        let roles = self.role.iter().map(|role| (*role).into()).collect();
        let wanted = Wanted { names: self.nodes.clone(), roles, all: self.all };
        let nodes = wanted.of(lab).map_err(|unknown| from_names::unknown_node(&unknown, lab))?;
        if nodes.is_empty() {
            return Err(Report::no_node_of_role(&lab.name).into());
        }
        Ok(nodes.into_iter().cloned().collect())
    }
}

/// Returns the one machine of a name.
pub fn one<'a>(lab: &'a Lab, name: &str) -> Result<&'a Node, Failure> {
    lab.node(name).ok_or_else(|| from_names::unknown_node(name, lab).into())
}

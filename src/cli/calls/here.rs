//! What only this Mac gives reason to say before a lab is made.

use super::loss;
use crate::cli::context::Context;
use crate::cli::error::{Failure, Kind, Report};
use crate::host::fusion::Fusion;
use crate::lab::Lab;
use crate::lab::problem::Problem;
use crate::lab::spec;
use crate::plan::facts::Facts;
use crate::plan::lan::{self, Verdict};
use crate::plan::wifi;

/// Where the lab file says the home network.
const LAN: &str = "lan.subnet";

/// Returns warnings that only this Mac gives reason for.
pub fn warnings_of_host(context: &Context, lab: &Lab, facts: &Facts) -> Result<Vec<Problem>, Failure> {
    let (_, text) = context.lab_text()?;
    let span = text.and_then(|text| spec::parse(&text).origin.span(LAN));
    let elsewhere = lan::warning(lab, facts, span);
    let wifi = wifi::warning(lab, &facts.host.routes, &facts.host.wifi);
    Ok(elsewhere.into_iter().chain(loss::warnings(lab, facts)).chain(wifi).collect())
}

/// Refuses a lab for a home network that is not here and that nobody chose: that of the built-in lab on a real Fusion. The simulated
/// Mac is in whatever network a lab wants. `init` is the command that makes a lab file for the network that is here.
pub fn must_be_home(
    context: &Context,
    lab: &Lab,
    fusion: &Fusion,
    facts: &Facts,
    init: &str,
) -> Result<(), Failure> {
    let (file, _) = context.lab_text()?;
    let guessed = file.is_none() && !fusion.simulated;
    let Verdict::Refuse(words) = lan::verdict(lab, facts, guessed) else { return Ok(()) };
    let what = format!("this Mac is not in the built-in lab's home network, {}", lab.lan.subnet);
    Err(Report::new("lan-elsewhere", Kind::HostCheck, what)
        .because(format!("{words}: gateways and VIP ({}) would answer to nobody", lab.lan.vip))
        .advise("nothing was changed; this finds the network that is here and writes a lab file for it:")
        .run(init)
        .into())
}

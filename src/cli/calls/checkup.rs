//! Every check of this Mac, for `doctor`: each group is gathered by its own part of `engine` and judged by `plan::health`.

use super::{backup_names, certificates, deadlines, fusion, survey_of, unless_stopped};
use crate::cli::context::Context;
use crate::cli::error::Failure;
use crate::cli::screen::doctor::Group;
use crate::engine::home::leftovers;
use crate::engine::observe::mac;
use crate::host::files;
use crate::host::fusion::Fusion;
use crate::host::fusion::vmrun::Vmrun;
use crate::lab::Lab;
use crate::plan::health::{self, Check, LeftBehind};

/// Errors that `doctor` tells as a check that failed.
pub const FINDINGS: [&str; 2] = ["fusion-not-found", "fusion-too-old"];

/// The error of programs that root does not run.
const DISTRUSTED: &str = "root-distrusts";

/// Makes every check of this Mac, unless the user says stop; also returns Fusion, if there is one.
pub async fn checkup(context: &Context, lab: &Lab) -> Result<(Option<Fusion>, Vec<Group>), Failure> {
    unless_stopped(&context.cancel, every_check(context, lab)).await
}

async fn every_check(context: &Context, lab: &Lab) -> Result<(Option<Fusion>, Vec<Group>), Failure> {
    let found = match fusion(context).await {
        Ok(fusion) => Ok(fusion),
        // That Fusion is missing or too old is a finding; anything else keeps us from looking.
        Err(Failure::Report(report)) if FINDINGS.contains(&report.id) => Err(report.what),
        Err(other) => return Err(other),
    };
    let seen = found.as_ref().map(|fusion| {
        let simulated = if fusion.simulated { ", simulated" } else { "" };
        (fusion.version.as_str(), format!("{} ({}){simulated}", fusion.version, fusion.build))
    });
    let mut checks = vec![health::fusion(seen)];
    let Ok(fusion) = found else {
        return Ok((None, vec![Group { title: "VMware Fusion", checks }]));
    };
    checks.extend(health::fusion_checks(&fusion.version, &mac::missing_programs(&fusion, lab)));
    let left = leftovers_of(context, &fusion)?;
    let mut of_mac = of_mac(&fusion, lab).await?;
    of_mac.push(health::clock(&left));
    let mut of_labs = vec![certificates::check(context, lab).await?];
    of_labs.extend(health::leftovers(&left));
    let groups = [
        ("VMware Fusion", checks),
        ("This Mac", of_mac),
        ("Networks", of_networks(context, &fusion, lab).await?),
        ("Labs", of_labs),
    ];
    let shown = groups.into_iter().filter(|(_, checks)| !checks.is_empty());
    let groups = shown.map(|(title, checks)| Group { title, checks }).collect();
    Ok((Some(fusion), groups))
}

/// Returns what killed runs have left; none if there is no Fusion.
pub async fn left_behind(context: &Context) -> Result<Option<LeftBehind>, Failure> {
    match fusion(context).await {
        Ok(fusion) => leftovers_of(context, &fusion).map(Some),
        Err(Failure::Report(report)) if FINDINGS.contains(&report.id) => Ok(None),
        Err(other) => Err(other),
    }
}

/// Puts away what of that costs nobody anything.
pub fn mend(context: &Context) -> Result<(), Failure> {
    Ok(leftovers::mend(&context.home)?)
}

fn leftovers_of(context: &Context, fusion: &Fusion) -> Result<LeftBehind, Failure> {
    Ok(leftovers::look(&context.home, fusion, backup_names(&context.home).len())?)
}

/// None of these where root would have to run programs that others could have changed: that is the networks' finding.
async fn of_mac(fusion: &Fusion, lab: &Lab) -> Result<Vec<Check>, Failure> {
    let vms = Vmrun::new(fusion.clone(), deadlines(&lab.limits));
    let looked = mac::look(fusion, &vms, lab, lab.limits.fusion_query).await;
    match looked.map_err(Failure::from) {
        Ok(seen) => Ok(health::mac(lab, &fusion.version, &seen)),
        Err(failure) if is_distrust(&failure) => Ok(Vec::new()),
        Err(other) => Err(other),
    }
}

async fn of_networks(context: &Context, fusion: &Fusion, lab: &Lab) -> Result<Vec<Check>, Failure> {
    let mut checks = match survey_of(context, fusion, lab).await {
        Ok(survey) => health::network(lab, &survey),
        // As root we do not even ask programs that others could have changed.
        Err(Failure::Report(report)) if report.id == DISTRUSTED => {
            return Ok(vec![health::distrusted(&report.what)]);
        }
        Err(other) => return Err(other),
    };
    let here = mac::home_networks(fusion, lab.limits.fusion_query).await;
    let stands = files::exists(context.home.lab(&lab.name).root());
    checks.push(health::home(lab, &here, stands));
    Ok(checks)
}

fn is_distrust(failure: &Failure) -> bool {
    matches!(failure, Failure::Report(report) if report.id == DISTRUSTED)
}

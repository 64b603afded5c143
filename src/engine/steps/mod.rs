//! One function per action of a plan. Each looks what is missing, or does over again what may be; most look at the end
//! whether it is there.

mod back;
mod clone;
pub mod cluster;
mod gateway;
pub(in crate::engine) mod guest;
mod kube;
mod lab;
mod lan;
mod network;
mod template;
mod upkeep;
pub(in crate::engine) mod vm;

use std::sync::Arc;

use crate::host::process;
use crate::plan::step::Action;

use crate::engine::drill;
use crate::engine::error::Result;
use crate::engine::event::Event;
use crate::engine::home::lab_lock;
use crate::engine::run::StepContext;

/// Does what a step says, keeping what its commands print. Returns whether anything was changed.
pub async fn perform(context: &StepContext) -> Result<bool> {
    let context =
        StepContext { engine: Arc::new(context.engine.recording(&context.step.id)), ..context.clone() };
    let orders = lab_lock::share(&context.engine.home, &context.engine.lab.name)?;
    let act = process::outlived(orders, act(&context));
    let result = match context.engine.output().map(|output| output.witness()) {
        Some(witness) => process::witnessed(witness, act).await,
        None => act.await,
    };
    for line in context.engine.output().map(|output| output.untold()).unwrap_or_default() {
        context.send(Event::Line { step: context.step.id.clone(), line });
    }
    result
}

async fn act(context: &StepContext) -> Result<bool> {
    match &context.step.action {
        Action::CreateIdentity => lab::create_identity(context),
        Action::ApplyNetwork { .. } => network::apply(context).await,
        Action::FetchImage => template::fetch(context).await,
        Action::ConvertImage => template::convert(context).await,
        Action::BakeTemplate => template::bake(context).await,
        Action::FreezeTemplate => template::freeze(context).await,
        Action::CloneVm { node } => clone::clone(context, node).await,
        Action::ConfigureVm { node } => vm::configure(context, node).await,
        Action::StartVm { node } => vm::start(context, node).await,
        Action::AwaitGuest { node } => guest::ready(context, node).await,
        Action::AwaitBack { node } => back::back(context, node).await,
        Action::SetClock { node } => upkeep::set_clock(context, node).await,
        Action::ProbeLan { node } => lan::probe(context, node).await,
        Action::ConfigureGateway { node } => gateway::configure(context, node).await,
        Action::AwaitVips => gateway::vips(context).await,
        Action::PrepareNode { node } => guest::prepare(context, node).await,
        Action::RenewCertificates { node } => upkeep::renew(context, node).await,
        Action::InitControlPlane { node } => kube::init(context, node).await,
        Action::AwaitEndpoint => kube::endpoint(context).await,
        Action::JoinControlPlane { node } | Action::JoinWorker { node } => kube::join(context, node).await,
        Action::InstallGatewayApi => cluster::install_gateway_api(context).await,
        Action::InstallCilium => cluster::cilium(context).await,
        Action::AwaitNodes => cluster::nodes(context).await,
        Action::ConfigureIngress => cluster::ingress(context).await,
        Action::WriteKubeconfig => lab::write_kubeconfig(context).await,
        Action::Drill { scenario, on } => drill::lose(context, *scenario, on.as_deref()).await,
        Action::EndDrill { scenario, node } => drill::put_back_what_is_left(context, *scenario, node).await,
        Action::StopVm { node } => vm::stop(context, node).await,
        Action::DeleteVm { node } => vm::delete(context, node).await,
        Action::DiscardTemplate => template::discard(context).await,
        Action::RemoveTemplate => template::remove(context).await,
        Action::RestoreNetwork { .. } => network::restore(context).await,
        Action::PutBackNetwork { backup, .. } => network::put_back(context, backup).await,
        Action::UnmergeKubeconfig { .. } => lab::unmerge_kubeconfig(context).await,
        Action::RemoveResolver { .. } => lab::remove_resolver(context).await,
        Action::ForgetLab => lab::forget(context).await,
    }
}

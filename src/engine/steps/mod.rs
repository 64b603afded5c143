//! One function per action of a plan. Each looks, acts if something is missing, and looks again.

mod clone;
mod cluster;
mod gateway;
mod guest;
mod kube;
mod lab;
mod network;
mod template;
mod vm;

use crate::plan::step::Action;

use super::error::Result;
use super::run::StepContext;

/// Does what a step says. Returns whether anything was changed.
pub async fn perform(context: &StepContext) -> Result<bool> {
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
        Action::ConfigureGateway { node } => gateway::configure(context, node).await,
        Action::AwaitVips => gateway::vips(context).await,
        Action::PrepareNode { node } => guest::prepare(context, node).await,
        Action::InitControlPlane { node } => kube::init(context, node).await,
        Action::AwaitEndpoint => kube::endpoint(context).await,
        Action::JoinControlPlane { node } | Action::JoinWorker { node } => kube::join(context, node).await,
        Action::InstallGatewayApi => cluster::install_gateway_api(context).await,
        Action::InstallCilium => cluster::cilium(context).await,
        Action::AwaitNodes => cluster::nodes(context).await,
        Action::ConfigureIngress => cluster::ingress(context).await,
        Action::WriteKubeconfig => lab::write_kubeconfig(context),
        Action::StopVm { node } => vm::stop(context, node).await,
        Action::DeleteVm { node } => vm::delete(context, node).await,
        Action::DiscardTemplate => template::discard(context).await,
        Action::RemoveTemplate => template::remove(context).await,
        Action::RestoreNetwork { .. } => network::restore(context).await,
        Action::PutBackNetwork { backup, .. } => network::put_back(context, backup).await,
        Action::ForgetLab => lab::forget(context),
    }
}

//! The kinds of steps: what a step's id begins with, and what else is told of all steps of one kind.

use super::step::{Action, Gate, Phase};

macro_rules! kinds {
    (
        of the whole { $($whole:ident = $whole_name:literal,)+ }
        of one machine { $($own:ident = $own_name:literal,)+ }
    ) => {
        /// What a step does, without what it does it to: the first part of its id.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $($whole,)+
            $($own,)+
        }

        impl Kind {
            pub const ALL: &[Self] = &[$(Self::$whole,)+ $(Self::$own,)+];

            /// Returns its name, such as `vm.clone`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$whole => $whole_name,)+
                    $(Self::$own => $own_name,)+
                }
            }

            /// Says whether each step of this kind concerns one machine, whose name ends its id.
            pub fn is_of_machine(self) -> bool {
                match self {
                    $(Self::$whole => false,)+
                    $(Self::$own => true,)+
                }
            }
        }
    };
}

kinds! {
    of the whole {
        IdentityCreate = "identity.create",
        NetworkApply = "network.apply",
        NetworkRestore = "network.restore",
        ImageFetch = "image.fetch",
        ImageConvert = "image.convert",
        TemplateBake = "template.bake",
        TemplateFreeze = "template.freeze",
        TemplateDiscard = "template.discard",
        TemplateRemove = "template.remove",
        GatewayVips = "gateway.vips",
        KubeEndpoint = "kube.endpoint",
        GatewayApiInstall = "gateway-api.install",
        CiliumInstall = "cilium.install",
        KubeNodes = "kube.nodes",
        IngressConfigure = "ingress.configure",
        KubeconfigWrite = "kubeconfig.write",
        KubeconfigUnmerge = "kubeconfig.unmerge",
        NamesUnresolve = "names.unresolve",
        LabForget = "lab.forget",
        Drill = "drill",
    }
    of one machine {
        VmClone = "vm.clone",
        VmConfigure = "vm.configure",
        VmStart = "vm.start",
        VmStop = "vm.stop",
        VmDelete = "vm.delete",
        GuestReady = "guest.ready",
        GuestClock = "guest.clock",
        NodeBack = "node.back",
        LanProbe = "lan.probe",
        GatewayConfigure = "gateway.configure",
        NodePrepare = "node.prepare",
        KubeCertificates = "kube.certificates",
        KubeInit = "kube.init",
        KubeJoin = "kube.join",
        DrillRestore = "drill.restore",
    }
}

impl Kind {
    /// Reads the kind off the text of an id, as the journal has it; none if no plan of this version has such a step.
    pub fn of_id(text: &str) -> Option<Self> {
        let name = without_node(text);
        let named = |name: &str| Self::ALL.iter().copied().find(|kind| kind.name() == name);
        // A drill's step goes on with its scenario.
        named(name).or_else(|| named(name.split('.').next().unwrap_or_default()))
    }

    /// Returns the phase that most steps of this kind belong to.
    pub fn phase(self) -> Phase {
        match self {
            Self::IdentityCreate
            | Self::NetworkApply
            | Self::NetworkRestore
            | Self::ImageFetch
            | Self::ImageConvert
            | Self::TemplateBake
            | Self::TemplateFreeze
            | Self::TemplateDiscard
            | Self::TemplateRemove
            | Self::KubeconfigUnmerge
            | Self::NamesUnresolve
            | Self::LabForget => Phase::Host,
            Self::VmClone | Self::VmConfigure => Phase::Clone,
            Self::VmStart => Phase::Boot,
            Self::GuestReady | Self::GuestClock => Phase::Ready,
            Self::LanProbe | Self::GatewayConfigure | Self::NodePrepare => Phase::Configure,
            Self::KubeCertificates | Self::KubeInit | Self::KubeJoin => Phase::Join,
            Self::NodeBack => Phase::Healthy,
            Self::GatewayVips
            | Self::KubeEndpoint
            | Self::GatewayApiInstall
            | Self::CiliumInstall
            | Self::KubeNodes
            | Self::IngressConfigure
            | Self::KubeconfigWrite => Phase::Cluster,
            Self::VmStop => Phase::Stop,
            Self::VmDelete => Phase::Delete,
            Self::Drill | Self::DrillRestore => Phase::Drill,
        }
    }

    /// Returns what only so many steps of this kind may do at once; none if all may run together.
    pub fn gate(self) -> Option<Gate> {
        match self {
            Self::VmClone | Self::VmDelete => Some(Gate::Parent),
            Self::VmStart => Some(Gate::PowerOn),
            Self::GuestReady
            | Self::GuestClock
            | Self::NodeBack
            | Self::LanProbe
            | Self::GatewayConfigure
            | Self::NodePrepare
            | Self::KubeCertificates => Some(Gate::Guest),
            _ => None,
        }
    }
}

/// Returns the text of an id without its machine.
pub(super) fn without_node(id: &str) -> &str {
    id.split('/').next().unwrap_or_default()
}

impl Action {
    /// Returns the kind of step that does it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::CreateIdentity => Kind::IdentityCreate,
            Self::ApplyNetwork { .. } => Kind::NetworkApply,
            Self::RestoreNetwork { .. } | Self::PutBackNetwork { .. } => Kind::NetworkRestore,
            Self::FetchImage => Kind::ImageFetch,
            Self::ConvertImage => Kind::ImageConvert,
            Self::BakeTemplate => Kind::TemplateBake,
            Self::FreezeTemplate => Kind::TemplateFreeze,
            Self::DiscardTemplate => Kind::TemplateDiscard,
            Self::RemoveTemplate => Kind::TemplateRemove,
            Self::CloneVm { .. } => Kind::VmClone,
            Self::ConfigureVm { .. } => Kind::VmConfigure,
            Self::StartVm { .. } => Kind::VmStart,
            Self::StopVm { .. } => Kind::VmStop,
            Self::DeleteVm { .. } => Kind::VmDelete,
            Self::AwaitGuest { .. } => Kind::GuestReady,
            Self::SetClock { .. } => Kind::GuestClock,
            Self::AwaitBack { .. } => Kind::NodeBack,
            Self::ProbeLan { .. } => Kind::LanProbe,
            Self::ConfigureGateway { .. } => Kind::GatewayConfigure,
            Self::AwaitVips => Kind::GatewayVips,
            Self::PrepareNode { .. } => Kind::NodePrepare,
            Self::RenewCertificates { .. } => Kind::KubeCertificates,
            Self::InitControlPlane { .. } => Kind::KubeInit,
            Self::JoinControlPlane { .. } | Self::JoinWorker { .. } => Kind::KubeJoin,
            Self::AwaitEndpoint => Kind::KubeEndpoint,
            Self::InstallGatewayApi => Kind::GatewayApiInstall,
            Self::InstallCilium => Kind::CiliumInstall,
            Self::AwaitNodes => Kind::KubeNodes,
            Self::ConfigureIngress => Kind::IngressConfigure,
            Self::WriteKubeconfig => Kind::KubeconfigWrite,
            Self::UnmergeKubeconfig { .. } => Kind::KubeconfigUnmerge,
            Self::RemoveResolver { .. } => Kind::NamesUnresolve,
            Self::ForgetLab => Kind::LabForget,
            Self::Drill { .. } => Kind::Drill,
            Self::EndDrill { .. } => Kind::DrillRestore,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_read_off_its_steps_ids() {
        for kind in Kind::ALL.iter().copied() {
            let id = if kind.is_of_machine() { kind.on("k8s-master1") } else { kind.id() };
            assert_eq!((Kind::of_id(id.as_str()), id.kind()), (Some(kind), Some(kind)), "{id}");
        }
        assert_eq!(Kind::of_id("drill.gateway-vm"), Some(Kind::Drill));
        assert_eq!(Kind::of_id("of.a/later-version"), None);
    }
}

//! The one table of deadlines: after which time something has failed. How often one looks, and for how long what was
//! seen counts, stands with whoever looks.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// What a certificate must be good for still; with less left it is renewed. Thirty days: longer than most laptops sleep, and
/// a kubelet that runs renews its own long before.
pub const CERTIFICATE_RENEWAL: Duration = Duration::from_secs(30 * 24 * 3600);

/// One look for whoever answers at addresses of the LAN, before there is a lab file that could say how long.
pub const ADDRESS_PROBE: Duration = Duration::from_secs(5);

/// One look around while somebody waits at a Tab in a shell.
pub const TAB: Duration = Duration::from_secs(1);

/// What stands for no limit at all: nobody waits for a hundred years.
pub const NO_LIMIT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How long something may take, with the limit that says so: its time, or one that was reckoned from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    name: LimitName,
    duration: Duration,
}

impl Limit {
    pub fn name(self) -> LimitName {
        self.name
    }

    pub fn duration(self) -> Duration {
        self.duration
    }

    /// Returns the time until something ends that takes so much besides what is limited.
    pub fn and(self, more: Duration) -> Self {
        Self { duration: self.duration + more, ..self }
    }

    /// Returns one of so many equal parts of the time.
    pub fn part(self, parts: u32) -> Self {
        Self { duration: self.duration / parts, ..self }
    }
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident $variant:ident = $seconds:literal,)+) => {
        /// Which limit it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum LimitName {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl LimitName {
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Returns it as the lab file spells it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($name),)+
                }
            }
        }

        /// How long each requirement may take. A lab file overrides one by its name, in seconds.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $name: Duration,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: Duration::from_secs($seconds),)+ }
            }
        }

        impl Limits {
            /// Every limit's name as the lab file spells it, with its meaning and default in seconds.
            pub const TABLE: &[(&str, &str, u64)] = &[$((stringify!($name), concat!($($doc),+), $seconds),)+];

            $(
                $(#[doc = $doc])+
                pub fn $name(&self) -> Limit {
                    Limit { name: LimitName::$variant, duration: self.$name }
                }
            )+

            /// Returns limits that are so many times as long: for machines that are known to be slow.
            pub fn times(&self, factor: u32) -> Self {
                Self { $($name: self.$name * factor,)+ }
            }

            /// Sets a limit by its name; returns false if there is none of that name.
            pub fn set(&mut self, name: &str, value: Duration) -> bool {
                match name {
                    $(stringify!($name) => self.$name = value,)+
                    _ => return false,
                }
                true
            }
        }
    };
}

limits! {
    /// Running steps coming to an end after Ctrl-C, before they are cut off.
    stop Stop = 5,
    /// What a whole step may take beyond the limits of all that it waits for.
    step_slack StepSlack = 900,
    /// Memory of this Mac becoming free before a VM is powered on all the same.
    host_memory HostMemory = 60,
    /// Another run's work on Fusion's networks or on the template; with `--wait`, on the lab.
    turn Turn = 3600,
    /// `vmrun list` and other questions to Fusion.
    fusion_query FusionQuery = 30,
    /// Fusion asking a guest for its address.
    fusion_address FusionAddress = 10,
    // Peers raised theirs from 45 s to 300 s: facts/vmrun-vmrest.md §1.5.
    /// `vmrun start`.
    vm_start VmStart = 300,
    /// A soft `vmrun stop`, before the hard one.
    vm_stop_soft VmStopSoft = 60,
    /// A hard `vmrun stop`.
    vm_stop_hard VmStopHard = 60,
    /// `vmrun clone`, snapshot and deleteVM.
    vm_clone VmClone = 300,
    /// Fusion letting go of a stopped VM's files.
    vm_unlock VmUnlock = 120,
    /// The networks' stop, configure or start.
    network_apply NetworkApply = 120,
    /// One download without a byte received.
    download_stall DownloadStall = 60,
    /// From power-on to a guest that takes our key.
    guest_ssh GuestSsh = 300,
    /// From the first login to cloud-init done.
    guest_cloud_init GuestCloudInit = 600,
    /// One TCP connection to a guest.
    guest_connect GuestConnect = 10,
    /// One short guest command.
    guest_command GuestCommand = 60,
    /// One answer of a machine or of the API server, for `status`.
    status_answer StatusAnswer = 10,
    /// From one look to the next, for `status --watch`.
    status_watch StatusWatch = 5,
    /// Packages, images and charts baked into the template.
    template_bake TemplateBake = 3600,
    /// Clocks of all nodes within a second.
    clock_sync ClockSync = 120,
    /// A guest's clock set, once its time servers were asked.
    clock_step ClockStep = 30,
    /// A silence on the LAN before the VIP is taken: nobody answers for it or uses our VRRP router id.
    lan_probe LanProbe = 4,
    /// A gateway holding both VIPs after Keepalived started.
    vip_held VipHeld = 60,
    // Slow laptops need more than kubeadm's own 4 min a check: facts/kubernetes-cilium.md §1.1.
    /// `kubeadm init` (its own two health checks may take two fifths of it each).
    kubeadm_init KubeadmInit = 1200,
    /// `kubeadm join` (its own two health checks may take two fifths of it each).
    kubeadm_join KubeadmJoin = 1200,
    /// A node that somebody took out of the cluster coming back by itself.
    nodes_register NodesRegister = 60,
    /// The API answering through the internal VIP, seen from a node.
    api_endpoint ApiEndpoint = 180,
    /// Gateway API definitions established.
    crds_established CrdsEstablished = 60,
    /// `helm upgrade --install`.
    helm_install HelmInstall = 300,
    /// Cilium's rollouts complete.
    cilium_ready CiliumReady = 600,
    /// Every node Ready.
    nodes_ready NodesReady = 300,
    /// The Gateway accepted and programmed.
    gateway_programmed GatewayProgrammed = 180,
    /// One check of `verify`, retries included.
    verify_check VerifyCheck = 60,
    /// Knocking at a door that must stay shut, in `verify`.
    verify_refusal VerifyRefusal = 2,
    /// An answer of the lab's name server.
    dns_answer DnsAnswer = 5,
    /// Another program's lock on the user's kubeconfig.
    kubeconfig_lock KubeconfigLock = 15,
    /// One request of `drill`; without an answer by then it is lost.
    drill_request DrillRequest = 1,
    // A VIP moves in less: facts/kubernetes-cilium.md §6.
    /// The longest outage while a gateway, or a part of one, is lost.
    drill_gateway DrillGateway = 5,
    // Twice nginx's fail_timeout.
    /// The longest outage while a worker is lost.
    drill_worker DrillWorker = 10,
    /// The longest outage while a control plane is lost.
    drill_control_plane DrillControlPlane = 10,
    /// From putting back what a drill broke to a lab that is whole.
    drill_whole DrillWhole = 600,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_can_be_set_by_its_name() {
        for (name, _, seconds) in Limits::TABLE {
            let mut limits = Limits::default();
            assert!(limits.set(name, Duration::from_secs(seconds + 1)), "{name}");
            assert_ne!(limits, Limits::default(), "{name}");
        }
        assert!(!Limits::default().set("guest_shh", Duration::ZERO));
    }

    #[test]
    fn a_limit_knows_its_name_whatever_is_reckoned_from_it() {
        let names: Vec<&str> = LimitName::ALL.iter().map(|name| name.as_str()).collect();
        let table: Vec<&str> = Limits::TABLE.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names, table);
        let limit = Limits::default().gateway_programmed();
        let reckoned = limit.part(3).and(Duration::from_secs(1));
        assert_eq!((reckoned.name(), reckoned.duration()), (limit.name(), Duration::from_secs(61)));
    }
}

//! Every name that fusionlab gives to something, said once.

/// The user that the lab's guests let us in as; it may use sudo without a password.
pub const GUEST_USER: &str = "fusionlab";

/// VMX keys that mark a VM as ours. A VM without all three is never touched.
pub const VMX_LAB: &str = "fusionlab.lab";
pub const VMX_NODE: &str = "fusionlab.node";
/// Digest of everything the VM was made from: see `stack::vm::spec_digest`.
pub const VMX_SPEC: &str = "fusionlab.spec";
/// Key of the template that the VM was made from; a linked clone hangs on its disk.
pub const VMX_TEMPLATE: &str = "fusionlab.template";

/// The value of [`VMX_NODE`] in a template.
pub const TEMPLATE_NODE: &str = "(template)";

/// The template's snapshot that linked clones hang on.
pub const TEMPLATE_SNAPSHOT: &str = "fusionlab";

/// Where our own files live in a guest.
pub const GUEST_ETC: &str = "/etc/fusionlab";
/// Charts and manifests that the template carries.
pub const GUEST_OPT: &str = "/opt/fusionlab";
/// The one fact-gathering program, installed by cloud-init from `cloud-init/guest/`.
pub const GUEST_FACTS: &str = "/usr/local/sbin/fusionlab-facts";

/// The kubeconfig that kubeadm leaves on each control plane.
pub const ADMIN_CONF: &str = "/etc/kubernetes/admin.conf";

/// The Gateway, its class and the namespace of both and of the test application.
pub const GATEWAY: &str = "lab";
pub const GATEWAY_CLASS: &str = "cilium-nodeport";
pub const GATEWAY_NAMESPACE: &str = "lab-gateway";

/// Field manager of everything we apply to the cluster.
pub const FIELD_MANAGER: &str = "fusionlab";

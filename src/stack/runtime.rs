//! What containerd ran on a node, asked by `crictl`: it answers when the API server does not.

use serde_json::Value;

use crate::formats::command::Command;
use crate::stack::facts::items;
use crate::stack::kubeadm::CONTROL_PLANE;

/// Where Cilium's agent says that it is there. Before it, no pod but the control plane's own ever ran on the node.
const NETWORK_PLUGIN: &str = "/etc/cni/net.d/05-cilium.conflist";
/// How crictl calls a container that runs.
pub const RUNNING: &str = "CONTAINER_RUNNING";
/// Lines of a container's log that an error shows.
const LOG_LINES: &str = "8";

fn crictl<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    Command::new(["crictl"].into_iter().chain(arguments)).as_root()
}

/// Lists the pods that containerd knows, the ended ones too.
pub fn pods() -> Command {
    crictl(["pods", "-o", "json"])
}

/// Lists all containers of a name, the ended ones too.
pub fn containers(name: &str) -> Command {
    crictl(["ps", "-a", "--name", name, "-o", "json"])
}

/// Stops a container; the kubelet starts another in the place of one of its own.
pub fn stop(container: &str) -> Command {
    crictl(["stop", container])
}

/// Prints a container's last lines.
pub fn logs(container: &str) -> Command {
    crictl(["logs", "--tail", LOG_LINES, container])
}

/// Succeeds if pods had a network on this node.
pub fn network_plugin() -> Command {
    Command::new(["test", "-e", NETWORK_PLUGIN]).as_root()
}

/// Returns the pods of the answer that are not the control plane's own on this node, as `namespace/name`.
pub fn workload(answer: &str, node: &str) -> Result<Vec<String>, serde_json::Error> {
    let pods: Value = serde_json::from_str(answer)?;
    let name = |pod: &Value| {
        let word = |key: &str| pod["metadata"][key].as_str().unwrap_or_default().to_owned();
        (word("namespace"), word("name"))
    };
    let own = |(namespace, name): &(String, String)| {
        let component = name.strip_suffix(node).and_then(|name| name.strip_suffix('-'));
        namespace == "kube-system" && component.is_some_and(|component| CONTROL_PLANE.contains(&component))
    };
    let names = items(&pods).map(name).filter(|pod| !own(pod));
    Ok(names.map(|(namespace, name)| format!("{namespace}/{name}")).collect())
}

/// Returns the id and state of the newest container of the answer.
pub fn newest(answer: &str) -> Option<(String, String)> {
    let list: Value = serde_json::from_str(answer).ok()?;
    let containers = list["containers"].as_array()?;
    let created = |container: &&Value| -> u64 {
        container["createdAt"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
    };
    let newest = containers.iter().max_by_key(created)?;
    Some((newest["id"].as_str()?.to_owned(), newest["state"].as_str().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_control_planes_own_pods_are_no_workload() {
        let pod =
            |namespace: &str, name: &str| json!({ "metadata": { "namespace": namespace, "name": name } });
        let mut pods = vec![
            pod("kube-system", "etcd-k8s-master1"),
            pod("kube-system", "kube-apiserver-k8s-master1"),
            pod("kube-system", "kube-scheduler-k8s-master1"),
        ];
        let answer = |pods: &[Value]| json!({ "items": pods }).to_string();
        assert_eq!(workload(&answer(&pods), "k8s-master1").unwrap(), Vec::<String>::new());
        pods.push(pod("kube-system", "cilium-x7k2p"));
        pods.push(pod("shop", "etcd-k8s-master1"));
        assert_eq!(
            workload(&answer(&pods), "k8s-master1").unwrap(),
            ["kube-system/cilium-x7k2p", "shop/etcd-k8s-master1"]
        );
        assert!(workload("connection refused", "k8s-master1").is_err(), "no answer is not an empty one");
    }

    #[test]
    fn the_newest_container_is_the_one_whose_log_counts() {
        let one = |id: &str, at: &str, state: &str| json!({ "id": id, "createdAt": at, "state": state });
        let all = json!({ "containers": [
            one("a", "1795444824113000000", "CONTAINER_EXITED"),
            one("b", "1795444924113000000", "CONTAINER_RUNNING"),
        ]});
        assert_eq!(newest(&all.to_string()), Some(("b".to_owned(), "CONTAINER_RUNNING".to_owned())));
        assert_eq!(newest(r#"{"containers":[]}"#), None);
    }
}

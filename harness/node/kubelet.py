"""The kubelet and kube-proxy of the node. Called by the native provider."""

from __future__ import annotations

from functools import partial

from harness import files
from harness.node import cgroups
from harness.node.daemon import Daemon
from harness.node.http import healthy
from harness.node.network import DNS_SERVICE, PODS
from harness.node.pki import NODE
from harness.node.plan import Node


def _config(node: Node) -> dict[str, object]:
    pki, state = node.pki, node.state
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        # The API server comes by the node's address for logs and exec; loopback alone would refuse it.
        "address": "0.0.0.0",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet.key"),
        "containerRuntimeEndpoint": f"unix://{state / 'containerd.sock'}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": node.cgroup,
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        # Pods get no resolver of the host's: it would be one more way to look out.
        "resolvConf": str(state / "config" / "resolv.conf"),
        "podLogsDir": str(state / "pod-logs"),
        "volumePluginDir": str(state / "kubelet-plugins"),
        "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "200Mi"},
        "imageGCHighThresholdPercent": 100,
        "serializeImagePulls": False,
        "maxPods": 500,
        "kubeAPIQPS": 300,
        "kubeAPIBurst": 600,
        "eventRecordQPS": 100,
        "eventBurst": 200,
    }


def kubelet(node: Node) -> Daemon:
    """The kubelet; containers outlive it, so it can be killed at any time."""
    config = node.state / "config" / "kubelet.json"
    argv = (
        str(node.binaries["kube"] / "kubelet"),
        f"--config={config}",
        f"--kubeconfig={node.pki / 'kubelet.kubeconfig'}",
        f"--hostname-override={NODE}",
        f"--node-ip={node.link.node}",
    )

    def prepare() -> None:
        files.write_json(config, _config(node))
        files.write(node.state / "config" / "resolv.conf", "# no resolver outside the cluster\n")
        cgroups.create(node.cgroup)

    return Daemon("kubelet", argv, lambda: healthy(10248, "/healthz"), prepare)


def _proxy_config(node: Node) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(node.pki / "proxy.kubeconfig")},
        "hostnameOverride": NODE,
        "mode": "iptables",
        "detectLocalMode": "ClusterCIDR",
        "clusterCIDR": PODS,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def proxy(node: Node) -> Daemon:
    """kube-proxy; the connection table's size is the host's and stays as it is."""
    config = node.state / "config" / "proxy.json"
    argv = (str(node.binaries["kube"] / "kube-proxy"), f"--config={config}")
    prepare = partial(files.write_json, config, _proxy_config(node))
    return Daemon("proxy", argv, lambda: healthy(10256, "/healthz"), prepare)

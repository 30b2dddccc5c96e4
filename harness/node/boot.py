"""The order in which a node comes up, and what makes it whole. Called by the native provider.

Whatever runs already is left alone, so that an interrupted or damaged cluster is completed by the same steps.
"""

from __future__ import annotations

from harness.node import addons, apiserver, containerd, controllers, database, etcd, kubelet, network, pki
from harness.node.daemon import Supervised
from harness.node.http import Api
from harness.node.plan import Node
from harness.node.sandbox import Sandbox

_MAKERS = {
    "etcd": etcd.daemon,
    "containerd": containerd.daemon,
    "postgres": database.daemon,
    "apiserver": apiserver.daemon,
    "controller-manager": controllers.manager,
    "scheduler": controllers.scheduler,
    "kubelet": kubelet.kubelet,
    "proxy": kubelet.proxy,
}
DAEMONS = tuple(_MAKERS)
_CLIENTS = ("controller-manager", "scheduler", "kubelet", "proxy")


def daemons(node: Node, sandbox: Sandbox) -> dict[str, Supervised]:
    """All daemons of the node by name, in the order of their start."""
    return {name: Supervised(make(node), node.state, sandbox) for name, make in _MAKERS.items()}


def complete(node: Node, sandbox: Sandbox) -> bool:
    """Whether nothing is left to do; if so, volumes that were given back are freed."""
    all_of = daemons(node, sandbox).values()
    # Whether they run is quickly told; the health of one whose neighbour is gone can take seconds to ask.
    if not sandbox.running() or any(one.process is None for one in all_of) or any(one.sick() for one in all_of):
        return False
    api = Api(node.link.node, node.pki)
    if not addons.applied(node) or addons.not_ready(api) is not None:
        return False
    addons.apply(node, api)
    return True


def boot(node: Node, sandbox: Sandbox) -> None:
    """Start what does not run, in order, and wait until the node takes pods."""
    node.state.chmod(0o755)
    sandbox.create(lambda init: network.set_up(node.link, sandbox, init))
    pki.ensure(node.state, node.link.node)
    all_of = daemons(node, sandbox)
    for name in ("etcd", "containerd", "postgres"):
        all_of[name].start()
    all_of["etcd"].wait()
    all_of["apiserver"].start()
    # The API server takes seconds to start; what needs only the others is done meanwhile.
    all_of["containerd"].wait()
    addons.load_images(node)
    all_of["postgres"].wait()
    database.prepare(node)
    all_of["apiserver"].wait()
    for name in _CLIENTS:
        all_of[name].start()
    api = Api(node.link.node, node.pki)
    addons.apply(node, api)
    for name in _CLIENTS:
        all_of[name].wait()
    addons.wait_ready(api)

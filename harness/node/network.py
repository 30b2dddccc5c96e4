"""The node's link to the host, and the rules that leave its pods no way out.

Called by the native provider. Pods and Services have fixed ranges, since they exist in the node's own network only;
what must be free on the host is the pair of addresses of the link, chosen here and recorded with the cluster.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from harness.console import HarnessError, run
from harness.node.sandbox import Sandbox

PODS = "10.244.0.0/16"
SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
# Ranges that links are taken from, in order; of each the part that no route of the host touches.
POOLS = ("10.213.0.0/20", "172.29.240.0/20", "192.168.240.0/20")

_SETTINGS = {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.disable_ipv6": 1, "net.ipv6.conf.default.disable_ipv6": 1}


@dataclass(frozen=True)
class Link:
    """A veth pair: `interface` and `host` on the machine's side, `uplink0` and `node` on the node's."""

    interface: str
    subnet: str
    host: str
    node: str


def choose(name: str, taken: Iterable[str]) -> Link:
    """A link whose subnet overlaps nothing in `taken` (networks in CIDR form); HarnessError when all is taken."""
    occupied = [ipaddress.ip_network(one, strict=False) for one in taken]
    occupied = [one for one in occupied if one.version == 4 and one.prefixlen > 0]
    occupied += [ipaddress.ip_network(PODS), ipaddress.ip_network(SERVICES)]
    for pool in POOLS:
        for subnet in ipaddress.ip_network(pool).subnets(new_prefix=30):
            if not any(subnet.overlaps(one) for one in occupied):
                host, node = (str(address) for address in subnet.hosts())
                return Link(f"hr-{sha256(name.encode()).hexdigest()[:8]}", str(subnet), host, node)
    raise HarnessError("no free /30 network is left in " + ", ".join(POOLS))


def occupied_on_host() -> list[str]:
    """Networks that the host has addresses in or routes to, in all its tables."""
    routes = json.loads(run(["ip", "-4", "-j", "route", "show", "table", "all"]).stdout or "[]")
    found = [route["dst"] for route in routes if route.get("dst", "default") != "default"]
    for interface in json.loads(run(["ip", "-4", "-j", "address", "show"]).stdout or "[]"):
        found += [f"{one['local']}/{one['prefixlen']}" for one in interface.get("addr_info", []) if "local" in one]
    return found


def set_up(link: Link, sandbox: Sandbox, init: int) -> None:
    """Join a new sandbox to the host and close it: run once for each sandbox, before anything starts in it."""
    remove(link)
    run(["ip", "link", "add", link.interface, "type", "veth", "peer", "name", "uplink0", "netns", str(init)])
    run(["ip", "address", "add", f"{link.host}/30", "dev", link.interface])
    run(["ip", "link", "set", link.interface, "up"])
    # All that is not on the node is routed into a void, so that it passes the firewall on its way and is refused there.
    # Without a route the kernel refuses as well, but by messages that it rations, and TCP then waits for seconds.
    commands = f"""\
        link set lo up
        address add {link.node}/30 dev uplink0
        link set uplink0 up
        link add void0 type veth peer name void1
        link set void0 up
        route add default dev void0"""
    sandbox.run(["ip", "-batch", "-"], stdin="\n".join(line.strip() for line in commands.splitlines()) + "\n")
    for key, value in _SETTINGS.items():
        path = "/proc/sys/" + key.replace(".", "/")
        sandbox.run(["sh", "-c", f"[ ! -e {path} ] || echo {value} > {path}"])
    sandbox.run(["iptables-restore", "--noflush"], stdin=_rules())


def _rules() -> str:
    """No way out, and of the node only the API server and Postgres. What is refused is refused at once, not dropped.

    kube-proxy puts its own rules before these and lets its marked connections pass; so what pods send is dropped once
    more where it would leave the node.
    """
    return f"""\
*mangle
-A POSTROUTING -o uplink0 -s {PODS} -j DROP
COMMIT
*filter
:HEADRACE-REFUSE - [0:0]
-A HEADRACE-REFUSE -p tcp -j REJECT --reject-with tcp-reset
-A HEADRACE-REFUSE -j REJECT --reject-with icmp-admin-prohibited
-A FORWARD -o void0 -j HEADRACE-REFUSE
-A FORWARD -o uplink0 -j HEADRACE-REFUSE
-A FORWARD -i uplink0 -j HEADRACE-REFUSE
:HEADRACE-INPUT - [0:0]
-A INPUT -s {PODS} -j HEADRACE-INPUT
-A HEADRACE-INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN
-A HEADRACE-INPUT -p tcp --dport 6443 -j RETURN
-A HEADRACE-INPUT -p tcp --dport 5432 -j RETURN
-A HEADRACE-INPUT -j HEADRACE-REFUSE
COMMIT
"""


def remove(link: Link) -> None:
    """Take the host's end of the link away; the other end goes with it."""
    run(["ip", "link", "delete", link.interface], check=False)

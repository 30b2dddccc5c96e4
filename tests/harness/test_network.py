"""Which addresses a cluster gets: nothing that the host or another cluster uses."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from harness.console import HarnessError
from harness.node import network


def test_a_free_machine_gives_the_first_subnet() -> None:
    link = network.choose("headrace", [])
    assert (link.subnet, link.host, link.node) == ("10.213.0.0/30", "10.213.0.1", "10.213.0.2")


@pytest.mark.parametrize(
    ("taken", "subnet"),
    [
        (["10.213.0.0/30"], "10.213.0.4/30"),
        (["10.213.0.5/32", "10.213.0.0/31"], "10.213.0.8/30"),
        (["10.213.0.7/24"], "10.213.1.0/30"),
        (["10.0.0.0/8"], "172.29.240.0/30"),
        (["10.0.0.0/8", "172.16.0.0/12"], "192.168.240.0/30"),
        (["0.0.0.0/0", "fd00::/8"], "10.213.0.0/30"),
    ],
)
def test_what_is_taken_is_left_alone(taken: list[str], subnet: str) -> None:
    assert network.choose("a", taken).subnet == subnet


def test_clusters_one_after_another_never_overlap() -> None:
    taken: list[str] = []
    for number in range(40):
        taken.append(network.choose(f"c{number}", taken).subnet)
    networks = [ip_network(one) for one in taken]
    assert len(set(networks)) == 40


def test_interfaces_are_told_apart_and_short_enough_for_the_kernel() -> None:
    names = {network.choose(name, []).interface for name in ("headrace", "test", "a" * 20)}
    assert len(names) == 3
    assert all(len(name) <= 15 for name in names)


def test_a_machine_without_room_says_so() -> None:
    with pytest.raises(HarnessError, match="no free /30"):
        network.choose("a", network.POOLS)

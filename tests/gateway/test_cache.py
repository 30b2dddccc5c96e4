"""Answers kept for seconds, bounded in number."""

from __future__ import annotations

from headrace.gateway.cache import Cache


def test_a_value_is_there_for_its_time_and_the_least_used_goes_first() -> None:
    now = [100.0]
    cache: Cache[str, int] = Cache(2, lambda: now[0])
    assert cache.get("a") is None
    cache.put("a", 1, 10)
    cache.put("b", 2, 2)
    assert (cache.get("b"), cache.get("a")) == (2, 1)
    now[0] += 2
    assert (cache.get("a"), cache.get("b"), len(cache)) == (1, None, 1)
    cache.put("b", 2, 9)
    assert cache.get("a") == 1
    cache.put("c", 3, 9)
    assert (cache.get("a"), cache.get("b"), cache.get("c"), len(cache)) == (1, None, 3, 2)
    now[0] += 100
    assert cache.get("c") is None

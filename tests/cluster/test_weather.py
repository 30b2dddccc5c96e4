"""The second example on a cluster: a feed that goes on, is killed, and takes back what was wrong; every value right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.example import volume
from tests.cluster.kube import Namespace, namespace, sql, until
from tests.examples import weather_oracle

ROOT = Path(__file__).parents[2] / "examples" / "weather"
LAST = "until-2013-12-31T23:00:00Z"
EVENTS = (
    "SELECT event FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.org_id = %s AND event IS NOT NULL ORDER BY seq"
)


def apply(ns: Namespace) -> None:
    """The volume and the feed, in the namespace, a fifth of a second between its events."""
    for file, kind in (("setup.yaml", "PersistentVolumeClaim"), ("weather.yaml", "DAG")):
        for one in yaml.safe_load_all((ROOT / file).read_text()):
            if one["kind"] == kind:
                one["metadata"]["namespace"] = ns.name
                for job in one["spec"].get("jobs", ()):
                    job.get("config", {}).update({"secondsBetween": 0.2} if "config" in job else {})
                ns.apply(one)


def parts(ns: Namespace, job: str) -> list[tuple[Path, list[Any]]]:
    """Directory and replaced filters of each part of what a job that serves has made, in order."""
    rows = sql(
        "SELECT p.location, coalesce(p.replaces, '[]') FROM dag_current_versions c"
        " JOIN dag_version_datasets v USING (dag_version_id) JOIN datasets d ON d.id = v.dataset_uuid"
        " JOIN partition_parts p ON (p.dataset_uuid, p.dataset_version) = (v.dataset_uuid, v.dataset_version)"
        " WHERE c.org_id = %s AND d.producer_job_name = %s ORDER BY p.place",
        ns.org(), job,
    )  # fmt: skip
    return [(volume(ns) / location.removeprefix("file:///data/"), replaces) for location, replaces in rows]


def events(ns: Namespace) -> list[str]:
    return [event for (event,) in sql(EVENTS, ns.org())]


@pytest.mark.long
def test_a_feed_that_is_killed_and_takes_back_what_was_wrong_comes_out_right() -> None:
    with namespace() as ns:
        apply(ns)
        ns.wait("weather", "Ready")
        until("five events", lambda: len(events(ns)) >= 5, within=120)
        pods = "headrace.dev/job=observations"
        ns.kubectl("delete", "pod", "-l", pods, "--grace-period=0", "--force")
        until("the end of the year", lambda: LAST in events(ns), within=240)
        ns.wait("weather", "UpToDate", within=240)
        told = events(ns)
        assert len(told) == len(set(told)) == 54
        assert told.index("correction-2013-02-12") == told.index("until-2013-03-04T23:00:00Z") + 1
        hourly = weather_oracle.contents(parts(ns, "tidy"), ["origin", "observed_hour"])
        assert len(hourly) == weather_oracle.HOURS
        weather_oracle.check(hourly, weather_oracle.hourly())
        weather_oracle.check(weather_oracle.contents(parts(ns, "daily"), ["origin", "day"]), weather_oracle.daily())
        # Of the one hour that was wrong a task of its own was made; the days, which it says nothing of, all again.
        replaced = [replaces for _, replaces in parts(ns, "tidy") if replaces]
        assert replaced[-1] == [{"origin": {"eq": "EWR"}, "observed_hour": {"eq": "2013-02-12T08:00:00Z"}}]
        assert sql("SELECT attempts FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.org_id = %s AND unit_key = '@'",
                   ns.org()) == [(2,)]  # fmt: skip
        left = sql(
            "SELECT count(*) FROM data_invalidations n JOIN datasets d ON d.id = n.dataset_uuid"
            " WHERE d.org_id = %s AND d.producer_job_name IN ('observations', 'tidy') AND processed_at IS NULL",
            ns.org(),
        )  # fmt: skip
        assert left == [(0,)]

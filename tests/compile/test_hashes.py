"""The hashes: recorded values, the same for every way of writing one pipeline, and what goes in and what does not."""

from __future__ import annotations

import copy
import random

import msgspec
import pytest
import yaml

from headrace.api.parse import parse_dag
from headrace.compile.hashes import canonical_json, digest
from tests.compile.documents import CLEAN, DAY, FULL, LOAD, REPORT, TEMPLATE, Spec, compiled, edited, step

# Of each job: config_hash, fingerprint, and the fingerprints of its outputs.
YAML_HASH = "v1-6d8a6f3a15bcfb7e8e1fce27980c74890dc2cc1b8e523e17ad5cae4df361f6cf"
GOLDEN = {
    "clean": (
        "v1-fc549e50d5de29d8941b4aeacf9e15fddff7b9f7b371c9b2ee9c66ce79538f7d",
        "v1-43bd3e4e4b301748c6447c2f0d2789c684504fa1304a7fc24e73c13b3bb80418",
        "v1-cbfde221d3f1f59f27ddcb3f6921329dea82062ce7569e99fb0b072e397ca24d",
        "v1-ef4bab9b35b105a40f939e9d658173040a712294301286313a81c4c523280886",
    ),
    "day": (
        "v1-af66ad7a06589758c2716dbd2787924d5d231798bdff040ab0bd7b3c4778c9e0",
        "v1-ee520c1deb197eeeb47f4893e97bd6327b168b37629de9fae8c25700fedd7e06",
        "v1-3091787a444ffe2991cebf564cffcba29b38753e5b5a8c2a8bc437c120e7370e",
    ),
    "load": (
        "v1-7f51c1c9041e930083e25a786590bafe54a2f89cf2dd1fcab1909a8e84273bf0",
        "v1-827d2682ad2d0e84e875a2ed6e62b0f14f01ab8e9df5da8b6b6151c58bc1fc96",
        "v1-d20b7462930d2658ec1aa2de1086c633b1fb08d30c3ebb427c16dae86e823f29",
        "v1-ecb3fd9512614e33ff7a2b57334ebcf123bf535d0b7abf61ee0b326dccc5ea31",
    ),
    "report": (
        "v1-1cbac192df39fb691a62022256770b6c566b51125db591993424c2a79f5ea7c4",
        "v1-5097a2070a32483e89598eedf9e38cf918a2e879593261f7b412bdc8d37600fd",
    ),
}
BASE = compiled(FULL)


def shuffled(value: object, seed: int, path: str = "") -> object:
    """The same JSON with its keys, and the lists that are sets, in another order."""
    order = random.Random(f"{seed}{path}")
    if isinstance(value, dict):
        items = [(k, shuffled(v, seed, f"{path}.{k}")) for k, v in value.items()]
        order.shuffle(items)
        return dict(items)
    if isinstance(value, list) and path in (".jobs", ".publish"):
        return order.sample([shuffled(v, seed, f"{path}[]") for v in value], len(value))
    return [shuffled(v, seed, f"{path}[]") for v in value] if isinstance(value, list) else value


def spelled_out() -> Spec:
    """FULL with every default written where it applies."""
    spec = copy.deepcopy(FULL)
    defaults = spec.pop("defaults")
    spec["jobs"] = [
        {**{k: v for k, v in defaults.items() if k != "template"}, "updateStrategy": "replace", "outputs": 1, **job}
        for job in (DAY, LOAD, CLEAN, REPORT)
    ]
    for job in spec["jobs"][1:]:
        own = job.get("template", {}).get("spec", {})
        job["template"] = {"spec": {**TEMPLATE["spec"], **{k: v for k, v in own.items() if k != "volumes"}}}
    spec["jobs"][2]["template"]["spec"]["volumes"] = [{"name": "scratch"}]
    spec["jobs"][2]["inputs"] = [
        {"name": "day", "from": {"job": "day", "output": 0}, "match": "same"},
        {"name": "raw", "from": {"job": "load", "output": 1}, "match": "same"},
    ]
    spec["publish"][0]["from"]["output"] = 0
    spec["publish"][0]["storage"]["base"] += "/"
    return spec


def test_the_example_is_what_the_parser_accepts() -> None:
    obj = {"apiVersion": "headrace.dev/v1alpha1", "kind": "DAG", "metadata": {"name": "events"}, "spec": FULL}
    assert parse_dag(obj).spec.jobs is not None


def test_recorded_hashes_stay_what_they_were() -> None:
    """A change of the algorithm would rebuild everyone's data: it needs a new ALGORITHM, never new values here."""
    found = {name: (job.config_hash, job.fingerprint, *job.outputs) for name, job in BASE.jobs.items()}
    assert (BASE.yaml_hash, found) == (YAML_HASH, GOLDEN)


@pytest.mark.parametrize(
    "spec",
    [
        *(pytest.param(shuffled(FULL, seed), id=f"shuffled {seed}") for seed in range(5)),
        pytest.param(yaml.safe_load(yaml.dump(FULL, default_flow_style=True, width=20)), id="reformatted"),
        pytest.param(spelled_out(), id="defaults spelled out"),
        pytest.param(edited("day", "source", "schedule", value=" 30  2 * * *"), id="spaces in the schedule"),
        pytest.param(edited("report", "inputs", value=[{"name": "clean_rows", "from": {"job": "clean"}},
                     {"from": {"job": "load"}}]), id="by job instead of by dataset"),
        pytest.param(edited("clean", "idleTimeout", value="0"), id="idleTimeout 0"),
        pytest.param(edited("clean", "report", value="termination"), id="report termination"),
        pytest.param({**FULL, "suspend": True}, id="suspend"),
        pytest.param({**FULL, "deletionPolicy": "Retain"}, id="deletionPolicy"),
        pytest.param({**FULL, "rollout": {"strategy": "WhenReady"}}, id="rollout"),
    ],
)  # fmt: skip
def test_one_pipeline_has_one_document(spec: Spec) -> None:
    """The same document, the same version: whatever the order, the formatting and what the hash leaves out."""
    assert compiled(spec) == BASE


@pytest.mark.parametrize(
    ("job", "path", "value"),
    [
        pytest.param(job, path.split("."), value, id=f"{job} {path}")
        for job, path, value in (
            ("clean", "operator", "other"),
            ("clean", "image", "example/clean:2"),
            ("clean", "command", ["clean", "all"]),
            ("clean", "args", ["--limit=10", "--strict"]),
            ("clean", "env", [{"name": "TRACE", "value": "2"}]),
            ("clean", "template", {"spec": {"containers": [{"name": "main", "env": [{"name": "NEW", "value": "1"}]}]}}),
            ("clean", "codeVersion", "1"),
            ("clean", "config", {"limit": 11}),
            ("clean", "inputs", [{"from": {"job": "day"}}]),
            ("clean", "inputs", [{"from": {"job": "day"}}, {"name": "raw", "from": {"job": "load", "output": 0}}]),
            ("clean", "inputs", [{"from": {"job": "day"}}, {"name": "rows", "from": {"job": "load", "output": 1}}]),
            ("clean", "inputs", [{"name": "raw", "from": {"job": "load", "output": 1}}, {"from": {"job": "day"}}]),
            ("clean", "inputs", [{"from": {"job": "day"}}, {"name": "raw", "from": {"job": "load", "output": 1},
                                                           "match": "latest"}]),
            ("clean", "outputs", 3),
            ("clean", "executionStrategy", "PerUpdate"),
            ("clean", "updateStrategy", "append"),
            ("clean", "uniqueKey", ["id"]),
            ("day", "source.kind", "manual"),
            ("day", "source.partition.format", "%Y%m%d"),
            ("day", "source.partition.offset", 0),
            ("day", "source.partition", None),
            ("report", "codeVersion", "8"),
            ("report", "codeVersion", None),
            ("report", "config", {"limit": 1}),
        )
    ],
)  # fmt: skip
def test_what_decides_the_data_changes_the_hash_of_the_job_and_what_is_downstream(
    job: str, path: list[str], value: object
) -> None:
    after = compiled(edited(job, *path, value=value))
    assert {n for n, j in after.jobs.items() if j.config_hash != BASE.jobs[n].config_hash} == {job}
    changed = {n for n, j in after.jobs.items() if j.fingerprint != BASE.jobs[n].fingerprint}
    assert changed == {job} | {n for n in BASE.jobs if job in BASE.upstream_of(n)}
    assert {n for n, j in after.jobs.items() if j.document_hash != BASE.jobs[n].document_hash} == {job}
    assert after.yaml_hash != BASE.yaml_hash


@pytest.mark.parametrize(
    ("job", "path", "value"),
    [
        pytest.param(job, path.split("."), value, id=f"{job} {path}")
        for job, path, value in (
            ("day", "source.schedule", "0 4 * * *"),
            ("day", "source.timeZone", "UTC"),
            ("day", "source.start", "2026-02-01"),
            ("day", "source.end", None),
            ("day", "source.catchUp", "none"),
            ("day", "source.partitions.range.end", "2026-01-31"),
            ("day", "source.partitions", None),
            ("load", "source.partitions.values", ["2025-12-01", "2025-12-02", "2025-12-03"]),
            ("clean", "scaling.maxConcurrency", 9),
            ("clean", "scaling.mode", "backfill"),
            ("clean", "scaling.batch", 5),
            ("clean", "idleTimeout", "5m"),
            ("clean", "report", "gateway"),
            ("clean", "timeoutSeconds", 901),
            ("clean", "heartbeatTimeoutSeconds", 31),
            ("clean", "maxAttempts", 9),
            ("clean", "resources", {"requests": {"cpu": "2"}}),
            ("clean", "template.spec.nodeSelector", {"disk": "slow"}),
            ("clean", "template.spec.containers", [{"name": "proxy", "image": "example/proxy:2"}]),
            ("clean", "configSchema", None),
            ("report", "image", "example/report:2"),
            ("report", "command", ["x"]),
            ("report", "args", ["x"]),
            ("report", "env", [{"name": "A", "value": "1"}]),
        )
    ],
)  # fmt: skip
def test_what_leaves_the_data_as_they_are_makes_a_version_and_no_new_data(
    job: str, path: list[str], value: object
) -> None:
    after = compiled(edited(job, *path, value=value))
    assert after.yaml_hash != BASE.yaml_hash
    assert {n for n, j in after.jobs.items() if j.document_hash != BASE.jobs[n].document_hash} == {job}
    assert {n: msgspec.structs.replace(j, document_hash="", pod="") for n, j in after.jobs.items()} == {
        n: msgspec.structs.replace(j, document_hash="", pod="") for n, j in BASE.jobs.items()
    }


def published(*given: Spec) -> Spec:
    """FULL with other datasets, and its reader of one by the job that makes it."""
    inputs = [{"name": "clean_rows", "from": {"job": "clean"}}, {"from": {"job": "load"}}]
    return {**edited("report", "inputs", value=inputs), "publish": list(given)}


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(published(), id="nothing published"),
        pytest.param(published({"name": "rows", "from": {"job": "clean"}}), id="published under another name"),
        pytest.param(published({"name": "clean_rows", "from": {"job": "clean"}, "description": "x"}), id="description"),
        pytest.param(
            published({"name": "clean_rows", "from": {"job": "clean"}, "storage": {"base": "s3://other"}}),
            id="storage base",
        ),
    ],
)
def test_names_and_places_of_datasets_are_no_part_of_their_fingerprints(spec: Spec) -> None:
    after = compiled(spec)
    assert after.yaml_hash != BASE.yaml_hash
    assert after.jobs == BASE.jobs


def test_outputs_have_fingerprints_of_their_own() -> None:
    everything = [f for job in BASE.jobs.values() for f in (job.config_hash, job.fingerprint, *job.outputs)]
    assert len(everything) == len(set(everything)) == 8 + 5


def test_a_digest_tells_kinds_and_values_apart_and_carries_its_algorithm() -> None:
    values = ([], {}, "", None, False, 0, [[]], ["a", "b"], ["ab"], "a\nb")
    found = {digest(kind, value) for kind in ("document", "config") for value in values}
    assert len(found) == 2 * len(values)
    assert {text.partition("-")[0] for text in found} == {"v1"}


def test_canonical_json_is_one_text() -> None:
    assert canonical_json({"b": [1, 2.5, "é\n"], "a": None}) == '{"a":null,"b":[1,2.5,"é\\n"]}'
    with pytest.raises(ValueError, match="Out of range float"):
        canonical_json({"a": float("nan")})


def test_images_without_a_digest_are_warned_of_and_change_nothing() -> None:
    begins = "images without a digest, whose contents can change unseen: "
    (warning,) = BASE.warnings
    assert warning == f"{begins}example/load:1 (job load), example/report:1 (job report)"
    pinned = compiled(edited("load", "image", value="example/load@sha256:" + "1" * 64))
    assert pinned.warnings == (f"{begins}example/report:1 (job report)",)
    alike = compiled({"jobs": [DAY, *(step(f"j{n}", "day", image=f"i{n % 6}") for n in range(36))]})
    (warning,) = alike.warnings
    assert warning.removeprefix(begins).startswith("i0 (job j0, j12, j18, j24, ...), i1 (job j1, ")
    assert warning.endswith(" and 2 more")


def test_a_document_too_large_for_plain_apply_is_warned_of_and_changes_nothing() -> None:
    def large(size: int) -> list[str]:
        jobs = [step(f"j{number}", "day", config={"text": "x" * 50_000}) for number in range(size // 50_000)]
        found = compiled({"jobs": [{"name": "day", "source": {"kind": "manual"}}, *jobs]})
        return [w for w in found.warnings if "bytes of JSON" in w]

    assert large(200_000) == []
    (told,) = large(250_000)
    assert "--server-side" in told

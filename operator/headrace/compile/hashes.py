"""The three hashes: of a document, of a job, of a dataset's contents. Pure; compile calls it.

Each carries the version of its algorithm (`v1-`), so that an upgrade that changes one rebuilds nobody's data: stored
hashes of an older version are compared by that version's rules. What goes in is design section 3; the recorded golden
hashes in the tests show any accidental change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

ALGORITHM = "v1"


def canonical_json(value: object) -> str:
    """The one text of a JSON value: keys sorted, no spaces, no escapes but those JSON demands; NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(kind: str, value: object) -> str:
    """`v1-` and the SHA-256 in hex of the canonical text of `value`, apart for each `kind` of thing hashed."""
    return digest_of_text(kind, [canonical_json(value)])


def digest_of_text(kind: str, pieces: Iterable[str]) -> str:
    """The digest of a value whose canonical text comes in pieces: the whole is never held."""
    found = hashlib.sha256(f"{canonical_json([ALGORITHM, kind])[:-1]},".encode())
    for piece in pieces:
        found.update(piece.encode("utf-8", "surrogatepass"))
    found.update(b"]")
    return f"{ALGORITHM}-{found.hexdigest()}"


def job_fingerprint(config_hash: str, input_fingerprints: Sequence[str]) -> str:
    """The Merkle hash of a job: its own hash over those of its inputs, in the order of the inputs."""
    return digest("job", [config_hash, list(input_fingerprints)])


def output_fingerprint(job: str, output: int) -> str:
    """The fingerprint of output number `output` of the job whose fingerprint is `job`."""
    return digest("dataset", [job, output])


def external_fingerprint(dataset: str) -> str:
    """What a dataset of another DAG puts into the fingerprints of its readers: its name, whatever its contents."""
    return digest("external", dataset)

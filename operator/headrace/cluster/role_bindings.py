"""RoleBindings that give roles of an org, labelled `headrace.dev/role`. The operator follows them, the gateway asks.

Whom RBAC lets do what is not read here: a label only names a role, and a binding's subjects have it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from msgspec import Struct, field

from headrace.api.names import NAME_RE
from headrace.api.people import ANNOTATION_ROLE_NAME, LABEL_ROLE, ROLE_NAME_MAX, Binding
from headrace.cluster.client import Client, path_of
from headrace.errors import TemporaryError

logger = logging.getLogger(__name__)

RBAC = "rbac.authorization.k8s.io"
PATH = path_of(f"{RBAC}/v1", None, "rolebindings")
"""Of all namespaces."""

_LONGEST: Final = 512


class Subject(Struct, frozen=True):
    """Who holds it; a service account is one of a namespace, by default the binding's."""

    kind: str
    name: str
    namespace: str = ""


class Meta(Struct, frozen=True):
    """The metadata that is used."""

    name: str
    namespace: str
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


class RoleBinding(Struct, frozen=True):
    """A RoleBinding as the API server shows it."""

    metadata: Meta
    subjects: tuple[Subject, ...] | None = None


class _List(Struct):
    items: list[RoleBinding]


async def role_bindings(client: Client, namespace: str) -> tuple[Binding, ...]:
    """What the labelled RoleBindings of a namespace give, as they are now."""
    found = await client.get(path_of(f"{RBAC}/v1", namespace, "rolebindings"), _List, labelSelector=LABEL_ROLE)
    if found is None:
        raise TemporaryError("the API server serves no RoleBindings")
    return bindings_of(found.items)


def bindings_of(found: Iterable[RoleBinding]) -> tuple[Binding, ...]:
    """What they give, in the order of their names; one whose label can be no role gives nothing."""
    made = []
    for one in sorted(found, key=lambda binding: binding.metadata.name):
        slug = one.metadata.labels.get(LABEL_ROLE, "")
        if not NAME_RE.match(slug):
            logger.info("RoleBinding %s/%s: %r can be no role", one.metadata.namespace, one.metadata.name, slug)
            continue
        name = one.metadata.annotations.get(ANNOTATION_ROLE_NAME, "").replace("\0", "").strip()[:ROLE_NAME_MAX]
        subjects = [subject for subject in one.subjects or () if _can_be(subject)]
        users = [subject.name for subject in subjects if subject.kind == "User"]
        users += [_account(subject, one.metadata.namespace) for subject in subjects if subject.kind == "ServiceAccount"]
        groups = [subject.name for subject in subjects if subject.kind == "Group"]
        made.append(Binding(slug=slug, name=name or None, users=tuple(users), groups=tuple(groups)))
    return tuple(made)


def _can_be(subject: Subject) -> bool:
    """Whether it is a name that anybody could come with; what cannot be kept is nobody's."""
    return "\0" not in subject.namespace + subject.name and len(subject.name) <= _LONGEST


def _account(subject: Subject, namespace: str) -> str:
    """The user name of a service account."""
    return f"system:serviceaccount:{subject.namespace or namespace}:{subject.name}"

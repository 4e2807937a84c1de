"""What an argument names: a claim, a selector of claims, or a namespace with all that is in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from limpet.contracts.service import ServiceAddress
from limpet.errors import UsageError

SCHEME = "kubernetes"
FORMS = f"{SCHEME}://NAMESPACE/CLAIM, {SCHEME}://NAMESPACE/?selector=LABEL=VALUE or {SCHEME}://NAMESPACE"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
"""RFC 1123, as Kubernetes names namespaces, claims and pods."""


def is_name(text: str) -> bool:
    """Whether the text can name an object; such a name is a safe file name too."""
    return len(text) <= 253 and _NAME.fullmatch(text) is not None


def claim_path(namespace: str, claim: str) -> str:
    """Where the content of a claim is in a snapshot."""
    return f"/{SCHEME}/{namespace}/volumes/{claim}"


def manifests_path(namespace: str) -> str:
    """Where the manifests of a namespace are in a snapshot."""
    return f"/{SCHEME}/{namespace}/manifests"


@dataclass(frozen=True, slots=True)
class Address:
    """A claim; the claims that a selector matches (`claim` is None); or all of a namespace (`selector` too)."""

    namespace: str
    claim: str | None = None
    selector: str | None = None

    @classmethod
    def parse(cls, rest: str) -> Self:
        """The address that `kubernetes:rest` is; UsageError for another form."""
        found = ServiceAddress.parse(SCHEME, rest)
        found.refuse_unknown_parameters("selector")
        claim = found.path.strip("/")
        selector = found.parameters.get("selector")
        if not found.host or found.user is not None or found.port is not None:
            raise UsageError(f"{found}: no namespace is named, or more than one: write {FORMS}")
        for name in (found.host, *([claim] if claim else [])):
            if not is_name(name):
                raise UsageError(f"{found}: {name!r} is no name of Kubernetes: write {FORMS}")
        if claim and selector is not None:
            raise UsageError(f"{found}: a claim and a selector exclude each other: write {FORMS}")
        if selector is not None and not selector.strip():
            raise UsageError(f"{found}: the selector is empty, it would match all claims: write {FORMS}")
        return cls(found.host, claim or None, selector)

    @property
    def is_namespace(self) -> bool:
        """Whether everything in the namespace is meant, manifests too."""
        return self.claim is None and self.selector is None

    @property
    def snapshot_path(self) -> str:
        """What the snapshot records: the same from run to run, whatever a selector matches today."""
        if self.claim is not None:
            return claim_path(self.namespace, self.claim)
        folder = f"/{SCHEME}/{self.namespace}"
        return folder if self.is_namespace else f"{folder}/volumes"

    def __str__(self) -> str:
        tail = f"/{self.claim}" if self.claim else f"/?selector={self.selector}" if self.selector else ""
        return f"{SCHEME}://{self.namespace}{tail}"

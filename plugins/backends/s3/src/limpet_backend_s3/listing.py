"""Pages of a listing: what to ask for, and what an answer holds, in both versions of the call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from limpet.errors import BackendError

from limpet_backend_s3.signature import Query


@dataclass(frozen=True, slots=True)
class Page:
    """Keys and sizes, and what to ask with for the next page; None where this is the last one."""

    objects: Sequence[tuple[str, int]]
    following: Query | None


def first_query(prefix: str, *, version_1: bool) -> Query:
    """The query of the first page; keys come quoted, for not every key can be written in XML."""
    query = [("prefix", prefix), ("encoding-type", "url")]
    return query if version_1 else [("list-type", "2"), *query]


def read_page(body: bytes, *, what: str, version_1: bool) -> Page:
    """The page in an answer; a transient BackendError for what is no listing, lest a cut one passes for a short one."""
    try:
        root = ElementTree.fromstring(body)
        if root.tag.rpartition("}")[2] != "ListBucketResult":
            raise ValueError("it is something else")
        quoted = root.findtext("{*}EncodingType") == "url"
        objects: list[tuple[str, int]] = []
        for item in root.iterfind("{*}Contents"):
            key, size = item.findtext("{*}Key"), item.findtext("{*}Size")
            if key is None or size is None:
                raise ValueError("an entry without key or size")
            objects.append((unquote_plus(key) if quoted else key, int(size)))
        if root.findtext("{*}IsTruncated") != "true":
            return Page(objects, None)
        following = _following(root, objects, quoted=quoted, version_1=version_1)
    except (ElementTree.ParseError, ValueError) as error:
        raise BackendError(f"{what}: the answer is no listing: {error}") from error
    if following is None:
        raise BackendError(
            f"{what}: there is more, and the service does not say how to ask for it;"
            " it may know only the first version of the call: -o s3.list-objects-v1=true",
            permanent=True,
        )
    return Page(objects, following)


def _following(
    root: ElementTree.Element, objects: Sequence[tuple[str, int]], *, quoted: bool, version_1: bool
) -> Query | None:
    """What to ask the next page with; None where the answer does not say."""
    if not version_1:
        token = root.findtext("{*}NextContinuationToken")
        return [("continuation-token", token)] if token else None
    # Only listings with a delimiter name the next marker; without one it is the last key.
    named = root.findtext("{*}NextMarker") or ""
    marker = (unquote_plus(named) if quoted else named) or (objects[-1][0] if objects else "")
    return [("marker", marker)] if marker else None

"""Where a bucket is: restic's location syntax, regions, and the two ways to name a bucket in a request."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote, urlsplit

from limpet.errors import UsageError

DEFAULT_REGION = "us-east-1"

_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_AMAZON = re.compile(
    r"s3(?:[.-]dualstack)?(?:[.-](?P<region>[a-z]{2}(?:-[a-z]+)+-\d))?\.(?P<domain>amazonaws\.com(?:\.cn)?)"
)
_DNS_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class BucketLookup(Enum):
    """How a request names its bucket; `auto` is `dns` at Amazon and Alibaba, and `path` elsewhere."""

    AUTO = "auto"
    DNS = "dns"
    PATH = "path"


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket at an endpoint, and the folder of the repository in it (empty for the bucket itself)."""

    endpoint: str
    """Host, with a port where it is not the scheme's own."""
    bucket: str
    prefix: str
    is_tls: bool = True

    def __str__(self) -> str:
        """As it is given after `s3:`."""
        path = f"{self.bucket}/{self.prefix}" if self.prefix else self.bucket
        return f"{'https' if self.is_tls else 'http'}://{self.endpoint}/{path}"

    @property
    def scheme(self) -> str:
        return "https" if self.is_tls else "http"

    @property
    def region(self) -> str | None:
        """The region that the endpoint of Amazon names, if it does."""
        match = _AMAZON.fullmatch(self.endpoint)
        return match["region"] if match else None

    @property
    def is_amazon(self) -> bool:
        return _AMAZON.fullmatch(self.endpoint) is not None

    def host(self, region: str) -> str:
        """The endpoint of a region: at Amazon each region has its own, elsewhere there is but one."""
        match = _AMAZON.fullmatch(self.endpoint)
        return f"s3.{region}.{match['domain']}" if match and not match["region"] else self.endpoint

    def names_bucket_in_host(self, lookup: BucketLookup) -> bool:
        """Whether requests go to `BUCKET.HOST/KEY`, not to `HOST/BUCKET/KEY`."""
        if lookup is not BucketLookup.AUTO:
            return lookup is BucketLookup.DNS
        # A certificate for *.HOST does not cover a bucket with dots in its name.
        if not _DNS_BUCKET.fullmatch(self.bucket) or (self.is_tls and "." in self.bucket):
            return False
        return self.is_amazon or self.endpoint.endswith(".aliyuncs.com")

    def key(self, *parts: str) -> str:
        """The key of an object of the repository."""
        return "/".join((self.prefix, *parts) if self.prefix else parts)


def parse_place(location: str) -> Place:
    """The place that `location` (what follows `s3:`) names: `HOST/BUCKET/PREFIX`, `//HOST/...` or a URL.

    A region in the place of the host is Amazon's endpoint there. UsageError for what is none of these.
    """
    is_tls = True
    if location.startswith(("http://", "https://")):
        url = urlsplit(location)
        is_tls = url.scheme == "https"
        if url.username is not None or url.query or url.fragment:
            raise UsageError(
                "s3: a location holds no user, password or query; keys come from AWS_ACCESS_KEY_ID and so on"
            )
        host, path = url.netloc, unquote(url.path[1:])
    else:
        host, _, path = location.removeprefix("//").partition("/")
    host = host.removesuffix(":443" if is_tls else ":80")
    bucket, _, prefix = path.partition("/")
    if "@" in host:  # not shown: who writes so writes a secret in front of it
        raise UsageError("s3: a location holds no user or password; keys come from AWS_ACCESS_KEY_ID and so on")
    if not host or not bucket:
        raise UsageError(
            f"s3: not a place with a host and a bucket: {location!r}; give one as in s3:HOST/BUCKET/PREFIX"
        )
    if any(character.isspace() or character in "@?#\\" for character in host + bucket):
        raise UsageError(f"s3: no host and bucket: {host!r} and {bucket!r}; give them as in s3:HOST/BUCKET/PREFIX")
    prefix = posixpath.normpath(f"/{prefix}").lstrip("/")
    if _REGION.fullmatch(host):
        host = f"s3.{host}.amazonaws.com" + (".cn" if host.startswith("cn-") else "")
    return Place(host, bucket, prefix, is_tls)

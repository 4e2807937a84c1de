"""Locations as restic writes them, what an answer is taken for, and the signature by Amazon's own example."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from limpet.errors import BackendError, MissingFileError, StorageFullError, UsageError
from limpet_backend_s3.credentials import Credentials
from limpet_backend_s3.errors import Refusal, refused
from limpet_backend_s3.listing import read_page
from limpet_backend_s3.place import BucketLookup, Place, parse_place
from limpet_backend_s3.signature import EMPTY_SHA256, signed_headers


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("hostname.foo/bucket", Place("hostname.foo", "bucket", "")),
        ("hostname.foo/bucket/", Place("hostname.foo", "bucket", "")),
        ("//hostname.foo/bucket/prefix/directory/", Place("hostname.foo", "bucket", "prefix/directory")),
        ("https://hostname:9999/bucket/a//b", Place("hostname:9999", "bucket", "a/b")),
        ("http://hostname:9999/bucket/prefix", Place("hostname:9999", "bucket", "prefix", is_tls=False)),
        ("http://[::1]:9999/bucket", Place("[::1]:9999", "bucket", "", is_tls=False)),
        ("eu-central-1/bucket/x", Place("s3.eu-central-1.amazonaws.com", "bucket", "x")),
        ("//cn-north-1/bucket", Place("s3.cn-north-1.amazonaws.com.cn", "bucket", "")),
    ],
)
def test_locations(location: str, place: Place) -> None:
    """Every form that restic documents must name the same place: elsewhere there is no repository."""
    assert parse_place(location) == place


@pytest.mark.parametrize(
    "location", ["", "/", "//", "//host", "host/", "http://host", "https:///b", "http://a:b@host/b"]
)
def test_what_is_no_location(location: str) -> None:
    """A location that is cut short is told at once, and not searched for on the network."""
    with pytest.raises(UsageError, match="s3:"):
        parse_place(location)


@pytest.mark.parametrize(
    ("location", "lookup", "in_host"),
    [
        ("s3.amazonaws.com/bucket", BucketLookup.AUTO, True),
        ("s3.amazonaws.com/bucket", BucketLookup.PATH, False),
        ("s3.amazonaws.com/bucket.with.dots", BucketLookup.AUTO, False),
        ("oss-eu-central-1.aliyuncs.com/bucket", BucketLookup.AUTO, True),
        ("minio.example.com/bucket", BucketLookup.AUTO, False),
        ("minio.example.com/bucket", BucketLookup.DNS, True),
    ],
)
def test_where_the_bucket_is_named(location: str, lookup: BucketLookup, in_host: bool) -> None:
    """Some services know but one of the two ways."""
    assert parse_place(location).names_bucket_in_host(lookup) is in_host


def test_endpoints_of_regions() -> None:
    """Amazon serves a bucket only where it is; others have one endpoint."""
    assert parse_place("s3.amazonaws.com/b").host("eu-west-3") == "s3.eu-west-3.amazonaws.com"
    assert parse_place("s3.us-west-2.amazonaws.com/b").region == "us-west-2"
    assert parse_place("example.com/b").host("eu-west-3") == "example.com"


def test_signature_of_amazons_example() -> None:
    """A signature is right or worth nothing: this is the one of Amazon's documentation."""
    headers = signed_headers(
        "GET",
        "/test.txt",
        "",
        {"host": "examplebucket.s3.amazonaws.com", "range": "bytes=0-9"},
        EMPTY_SHA256,
        credentials=Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        region="us-east-1",
        now=datetime(2013, 5, 24, tzinfo=UTC),
    )
    assert headers["authorization"].endswith(
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


@pytest.mark.parametrize(
    ("status", "code", "permanent", "says"),
    [
        (403, "AccessDenied", True, "does not allow"),
        (403, "SignatureDoesNotMatch", True, "AWS_SECRET_ACCESS_KEY"),
        (403, "RequestTimeTooSkewed", True, "set the clock"),
        (400, "ExpiredToken", True, "session token has expired"),
        (403, "QuotaExceeded", True, "no space left"),
        (507, "", True, "no space left"),
        (301, "PermanentRedirect", True, "s3.region"),
        (403, "InvalidObjectState", True, "archive"),
        (400, "InvalidArgument", True, "InvalidArgument"),
        (400, "RequestTimeout", False, "RequestTimeout"),
        (500, "InternalError", False, "500"),
        (503, "SlowDown", False, "SlowDown"),
        (522, "", False, "522"),
        (509, "BandwidthLimitExceeded", False, "509"),
        (501, "NotImplemented", True, "NotImplemented"),
        (409, "OperationAborted", False, "OperationAborted"),
        (409, "BucketAlreadyExists", True, "choose another"),
        (400, "IncompleteBody", False, "IncompleteBody"),
        (429, "", False, "429"),
    ],
)
def test_refusals(status: int, code: str, permanent: bool, says: str) -> None:
    """What will never work is told at once and plainly; what may work later is tried again."""
    body = f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode()
    headers = {"retry-after": "7", "date": "Sun, 22 Nov 2026 04:00:00 GMT"}
    error = refused("save x", Refusal.read(status, headers, body), bucket="b", host="h")
    assert error.permanent is permanent
    assert says in str(error)
    assert "\n" not in str(error)
    is_full = says == "no space left"
    assert isinstance(error, StorageFullError) is is_full
    assert error.retry_after_s == (None if is_full else 7)


def test_missing_bucket_is_named() -> None:
    """A mistyped bucket must not be taken for a repository that lost a file."""
    body = b"<Error><Code>NoSuchBucket</Code></Error>"
    error = refused("list keys", Refusal.read(404, {}, body), bucket="typo", host="h")
    assert isinstance(error, MissingFileError)
    assert "'typo'" in str(error)


@pytest.mark.parametrize("version_1", [False, True])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>please log in",
        b"<html>please log in</html>",
        b"<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>",
        b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
    ],
)
def test_what_is_no_listing(body: bytes, version_1: bool) -> None:
    """Half a listing that passes for a whole one makes prune remove what is in use."""
    with pytest.raises(BackendError, match=r"no listing|does not say how"):
        read_page(body, what="list data", version_1=version_1)


@pytest.mark.parametrize("text", ["key:hunter2@host/bucket", "//key:hunter2@host", "https://key:hunter2@host/bucket"])
def test_secrets_in_a_location(text: str) -> None:
    """Who writes keys into the location must not find them in a log."""
    with pytest.raises(UsageError, match="AWS_ACCESS_KEY_ID") as caught:
        parse_place(text)
    assert "hunter2" not in str(caught.value)

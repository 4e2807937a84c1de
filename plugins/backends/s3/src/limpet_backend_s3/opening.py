"""A client as the options, the environment and Amazon's files say."""

from __future__ import annotations

from dataclasses import dataclass

from limpet.contracts.options import Option, Options
from limpet.contracts.transport import Transport
from limpet.errors import UsageError

from limpet_backend_s3.client import Client
from limpet_backend_s3.credentials import Keyring, Profiles, find_credentials
from limpet_backend_s3.place import BucketLookup, parse_place
from limpet_backend_s3.roles import Role, ambient_source, assume_role

DEFAULT_CONNECTIONS = 5

OPTIONS = (
    Option("connections", "how many requests run at once", type="integer", default=DEFAULT_CONNECTIONS),
    Option("region", "the region of the bucket; found out where it is not given", environment="AWS_DEFAULT_REGION"),
    Option(
        "bucket-lookup", "how requests name the bucket: auto, dns (BUCKET.HOST) or path (HOST/BUCKET)", default="auto"
    ),
    Option(
        "storage-class",
        "the class that objects are stored in, such as STANDARD_IA; archives get packs of contents only",
    ),
    Option("list-objects-v1", "list with the first version of the call", type="boolean", default=False),
    Option("unsafe-anonymous-auth", "send requests without a signature", type="boolean", default=False),
    Option("checksum", "what lets the service check uploads: md5, sha256, or auto (sha256 at Amazon)", default="auto"),
    Option("access-key-id", "the key that signs requests", environment="AWS_ACCESS_KEY_ID"),
    Option("secret-access-key", "the secret of that key", environment="AWS_SECRET_ACCESS_KEY", secret=True),
    Option("session-token", "the token of temporary keys", environment="AWS_SESSION_TOKEN", secret=True),
    Option("profile", "the section of Amazon's credential files to use", environment="AWS_PROFILE"),
    Option("retries", "taken and ignored, for restic's scripts: limpet tries again for 15 minutes", type="integer"),
    Option("layout", "taken and ignored, for restic's scripts: there is but the default layout"),
    Option("enable-restore", "must be false: limpet does not bring objects back from archives", type="boolean"),
    Option("restore-days", "taken and ignored, as enable-restore must be false", type="integer"),
    Option("restore-timeout", "taken and ignored, as enable-restore must be false", type="duration"),
    Option("restore-tier", "taken and ignored, as enable-restore must be false"),
)


@dataclass(frozen=True, slots=True)
class Opened:
    """A client, and what the backend on top of it is to do."""

    client: Client
    connections: int
    storage_class: str | None
    list_version_1: bool
    sha256_checksums: bool


def open_client(location: str, options: Options, transport: Transport) -> Opened:
    """What `location` (after `s3:`) and the options describe; UsageError for what makes no sense."""
    place = parse_place(location)
    lookup = _choice(options, "bucket-lookup", tuple(style.value for style in BucketLookup))
    checksum = _choice(options, "checksum", ("auto", "md5", "sha256"))
    connections = options.get("connections")
    connections = DEFAULT_CONNECTIONS if connections is None else connections
    if not isinstance(connections, int) or connections < 1:
        raise UsageError(f"s3.connections must be a number from 1 on, not {connections!r}")
    if options.get("enable-restore"):
        raise UsageError(
            "s3.enable-restore: limpet does not bring objects back from archives; restore them there first"
        )
    region = _text(options, "region")
    keyring = None
    if not options.get("unsafe-anonymous-auth"):
        profile = _text(options, "profile")
        keys = [_text(options, name) for name in ("access-key-id", "secret-access-key", "session-token")]
        region = region or place.region or Profiles.read().region(profile)
        source = find_credentials(keys[0], keys[1], keys[2], profile) or ambient_source(region, transport)
        if source is None:
            raise UsageError(
                "s3: no credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE,"
                " or use `-o s3.unsafe-anonymous-auth=true` for a bucket that is open to all"
            )
        role = Role.of_restic(region)
        keyring = Keyring(source if role is None else assume_role(role, source, transport))
    client = Client(place, keyring, transport, connections=connections, region=region, lookup=BucketLookup(lookup))
    return Opened(
        client,
        connections,
        _text(options, "storage-class"),
        bool(options.get("list-objects-v1")),
        checksum == "sha256" or (checksum == "auto" and place.is_amazon),
    )


def _text(options: Options, name: str) -> str | None:
    value = options.get(name)
    return str(value) if value else None


def _choice(options: Options, name: str, choices: tuple[str, ...]) -> str:
    value = str(options.get(name) or choices[0]).lower()
    if value not in choices:
        raise UsageError(f"s3.{name} is one of {', '.join(choices)}, not {value!r}")
    return value

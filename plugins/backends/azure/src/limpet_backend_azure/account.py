"""Which storage account, where it listens and how requests to it are authorized: from options and the environment."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from limpet.contracts.options import Option, Options
from limpet.errors import UsageError

from limpet_backend_azure.credentials import Authorizer, DefaultCredential, SharedAccessSignature, SharedKey

PUBLIC_CLOUD = "core.windows.net"
DEVELOPMENT_ACCOUNT = "devstoreaccount1"
DEVELOPMENT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Printed in Microsoft's documentation, the same for every emulator: no secret."""
_ACCOUNT_NAME = re.compile(r"[a-z0-9]{3,24}(?:-secondary)?")

OPTIONS: Sequence[Option] = (
    Option("account-name", "the storage account", environment="AZURE_ACCOUNT_NAME"),
    Option("account-key", "an access key of the account", environment="AZURE_ACCOUNT_KEY", secret=True),
    Option("account-sas", "a shared access signature, in place of a key", environment="AZURE_ACCOUNT_SAS", secret=True),
    Option(
        "connection-string",
        "account, key or signature and endpoint in one, where neither a key nor a signature is given",
        environment="AZURE_STORAGE_CONNECTION_STRING",
        secret=True,
    ),
    Option(
        "force-cli-credential",
        "sign in as the user of the Azure CLI, and in no other way",
        type="boolean",
        default=False,
        environment="AZURE_FORCE_CLI_CREDENTIAL",
    ),
    Option("endpoint-suffix", f"the cloud (default: {PUBLIC_CLOUD})", environment="AZURE_ENDPOINT_SUFFIX"),
    Option("endpoint", "the URL of the account's blob service, for emulators and private links"),
)


@dataclass(frozen=True, slots=True)
class Account:
    """One storage account; `endpoint` is the URL of its blob service, without a slash at its end."""

    endpoint: str
    authorizer: Authorizer


def account(options: Options) -> Account:
    """The account the options name; UsageError where they name none or make no sense."""
    name, key, sas = (_text(options, f"account-{part}") for part in ("name", "key", "sas"))
    endpoint = _text(options, "endpoint")
    suffix = _text(options, "endpoint-suffix") or PUBLIC_CLOUD
    connection = _text(options, "connection-string")
    if connection and not (key or sas):
        parts = _connection_parts(connection)
        name, key, sas = (parts.get(part, "") for part in ("accountname", "accountkey", "sharedaccesssignature"))
        protocol = parts.get("defaultendpointsprotocol", "https")
        if not (name or parts.get("blobendpoint") or endpoint):
            raise UsageError("the connection string of Azure names neither AccountName nor BlobEndpoint")
        made = f"{protocol}://{name}.blob.{parts.get('endpointsuffix', suffix)}"
        endpoint = endpoint or parts.get("blobendpoint") or made
        if not (key or sas):
            raise UsageError("the connection string of Azure holds neither AccountKey nor SharedAccessSignature")
    if not name and (key or not endpoint):
        raise UsageError("no storage account is named: set AZURE_ACCOUNT_NAME, or AZURE_STORAGE_CONNECTION_STRING")
    if name and _ACCOUNT_NAME.fullmatch(name) is None:
        raise UsageError(f"not the name of a storage account: {name!r}; it has 3 to 24 lower-case letters and digits")
    endpoint = _checked_endpoint(endpoint or f"https://{name}.blob.{suffix}")
    return Account(endpoint, _authorizer(name, key, sas, endpoint, options.get("force-cli-credential") is True))


def _authorizer(name: str, key: str, sas: str, endpoint: str, force_cli: bool) -> Authorizer:
    if key:
        return SharedKey(name, key)
    if sas:
        return SharedAccessSignature(sas)
    if not endpoint.startswith("https:"):
        raise UsageError(f"a token is not sent to {endpoint} in the clear: use https, or set AZURE_ACCOUNT_KEY")
    return DefaultCredential(force_cli=force_cli)


def _checked_endpoint(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or parts.username:
        shown = parts._replace(query="", fragment="", netloc=parts.netloc.rpartition("@")[2]).geturl()
        raise UsageError(f"not the URL of a blob service: {shown!r}; one is https://ACCOUNT.blob.{PUBLIC_CLOUD}")
    return endpoint.rstrip("/")


def _connection_parts(text: str) -> dict[str, str]:
    """The parts by name in lower case; those of the emulator where it says so."""
    parts: dict[str, str] = {}
    for part in text.strip().strip(";").split(";"):
        name, equals, value = part.partition("=")
        if not equals:
            raise UsageError("the connection string of Azure is not of the form NAME=VALUE;NAME=VALUE")
        parts[name.strip().lower()] = value.strip()
    if parts.get("usedevelopmentstorage", "").lower() == "true":
        url = f"http://127.0.0.1:10000/{DEVELOPMENT_ACCOUNT}"
        return {"accountname": DEVELOPMENT_ACCOUNT, "accountkey": DEVELOPMENT_KEY, "blobendpoint": url}
    return parts


def _text(options: Options, name: str) -> str:
    value = options.get(name)
    return str(value).strip() if value is not None else ""

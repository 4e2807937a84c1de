"""b2sdk's session: who is asking, and new tokens where the old ones have expired."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from b2sdk.v3 import B2Session, InMemoryAccountInfo  # type: ignore[import-untyped]  # it has no py.typed
from b2sdk.v3.exception import Unauthorized  # type: ignore[import-untyped]
from limpet.errors import BackendError

from limpet_backend_b2.http import OneTryHttp


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who is asking, and where; the realm is `production` or the address of another service."""

    key_id: str
    key: str
    realm: str

    def __repr__(self) -> str:
        return f"Credentials({self.key_id!r}, realm={self.realm!r})"


class Session(B2Session):  # type: ignore[misc]  # untyped
    """Authorized from the start. Thread-safe, as b2sdk's is."""

    def __init__(self, http: OneTryHttp, credentials: Credentials) -> None:
        self.B2HTTP_CLASS = lambda _config: http
        super().__init__(InMemoryAccountInfo())
        self.authorize_account(credentials.realm, credentials.key_id, credentials.key)

    def authorize_account(self, realm: str, application_key_id: str, application_key: str) -> None:
        """Take a new token; a permanent BackendError where the key is refused, at the start or later."""
        try:
            super().authorize_account(realm, application_key_id, application_key)
        except Unauthorized as error:
            raise BackendError(
                f"B2 does not accept the application key {application_key_id!r}: check $B2_ACCOUNT_ID and"
                " $B2_ACCOUNT_KEY, and whether the key has been deleted or has expired",
                permanent=True,
            ) from error

    @property
    def account_id(self) -> str:
        """The account that the key belongs to."""
        return str(self.account_info.get_account_id())

    @property
    def allowed(self) -> dict[str, Any]:
        """What the key may do: `capabilities`, and the `buckets` and `namePrefix` it is restricted to, or None."""
        found: dict[str, Any] = self.account_info.get_allowed()
        return found

"""Who asks: nobody (an emulator), the bearer of a token, or Google's credentials, which renew their tokens."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from limpet.errors import BackendError, UsageError

if TYPE_CHECKING:
    from google.auth.credentials import Credentials as GoogleCredentials

SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"

_HEADER = "authorization"
"""In lower case, as google-auth writes it."""
Request = Callable[..., Any]
"""google-auth's `transport.Request`: (url, method, body, headers, timeout) to an answer."""


class Credentials(Protocol):
    """Gives each request the headers that say who asks."""

    renewable: bool
    """Whether a token that is refused can be replaced by a new one."""

    def add_to(self, headers: dict[str, str], request: Request) -> None:
        """Add them; `request` reaches the servers that give tokens. BackendError where there are no credentials."""

    def forget(self, headers: dict[str, str]) -> None:
        """The token in these headers was refused: take it out, and do not send it again."""

    def project(self) -> str | None:
        """The project that the credentials belong to, as far as they tell."""


class Anonymous:
    """Nobody, for emulators and for what everybody may read."""

    renewable = False

    def add_to(self, headers: dict[str, str], request: Request) -> None:
        return

    def forget(self, headers: dict[str, str]) -> None:
        return

    def project(self) -> str | None:
        return None


class AccessToken(Anonymous):
    """A token that somebody else has fetched, such as `gcloud auth print-access-token`; it ends after an hour."""

    def __init__(self, token: str) -> None:
        if not token.isascii() or not token.isprintable() or " " in token:
            raise UsageError("the access token of Google has characters that no token has: copy it anew, in one line")
        self._token = token

    def add_to(self, headers: dict[str, str], request: Request) -> None:
        headers[_HEADER] = f"Bearer {self._token}"


class Renewed:
    """Those of a file of Google's (a service account's key and others), or application default credentials.

    Thread-safe. Nothing is read or asked for before the first request.
    """

    renewable = True

    def __init__(self, file: str | None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._credentials: GoogleCredentials | None = None
        self._project: str | None = None

    def add_to(self, headers: dict[str, str], request: Request) -> None:
        with self._lock:
            if self._credentials is None:
                self._credentials, self._project = self._load(request)
            credentials: Any = self._credentials  # google-auth's methods have no types
            if not credentials.valid:
                self._refresh(credentials, request)
            credentials.apply(headers)

    def forget(self, headers: dict[str, str]) -> None:
        with self._lock:
            credentials: Any = self._credentials
            refused = headers.pop(_HEADER, None)
            if credentials is not None and refused == f"Bearer {credentials.token}":  # no other thread has renewed it
                credentials.token = None

    def project(self) -> str | None:
        return self._project

    def _load(self, request: Request) -> tuple[GoogleCredentials, str | None]:
        import google.auth  # noqa: PLC0415  # 0.1 s
        from google.auth.exceptions import GoogleAuthError, TransportError  # noqa: PLC0415

        try:
            with warnings.catch_warnings():  # it warns of files from strangers, this one the user has named
                warnings.simplefilter("ignore")
                load: Any = google.auth.default  # the other has no types
                if self._file is not None:
                    load = partial(google.auth.load_credentials_from_file, self._file)
                found: tuple[GoogleCredentials, str | None] = load(scopes=[SCOPE], request=request)
        except TransportError as error:
            raise BackendError(f"no credentials of Google: {first_line(error)}") from error
        except (GoogleAuthError, OSError, ValueError) as error:
            where = f"{self._file}: " if self._file is not None and self._file not in str(error) else ""
            raise BackendError(
                f"no credentials of Google: {where}{first_line(error)}; set GOOGLE_APPLICATION_CREDENTIALS to the file"
                f" of a service account, or GOOGLE_ACCESS_TOKEN",
                permanent=True,
            ) from error
        return found

    def _refresh(self, credentials: Any, request: Request) -> None:
        from google.auth.exceptions import GoogleAuthError, TransportError  # noqa: PLC0415

        try:
            credentials.refresh(request)
        except (GoogleAuthError, ValueError) as error:
            passing = isinstance(error, TransportError) or getattr(error, "retryable", False)
            raise BackendError(f"no token of Google: {first_line(error)}", permanent=not passing) from error


def first_line(error: Exception) -> str:
    """What went wrong, in short: google-auth adds the whole answer of the token server."""
    said = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
    return said.strip().partition("\n")[0].rstrip(".")[:300] or type(error).__name__

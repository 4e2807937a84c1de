"""`MailServer`: an SMTP server on the loopback that wants a password and keeps the mail."""

from __future__ import annotations

import email
import email.policy
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from tests.services.process import free_port


@dataclass(frozen=True, slots=True)
class Mail:
    """One that arrived."""

    sender: str
    recipients: list[str]
    message: EmailMessage

    @property
    def text(self) -> str:
        """The plain text."""
        part = self.message.get_body(("plain",))
        assert part is not None
        return cast(str, part.get_content())


class MailServer:
    """Runs until `close`; `user` and `password` are who may send."""

    def __init__(self, user: str, password: str) -> None:
        self.mails: list[Mail] = []
        self.port = free_port()
        self.refuses_with: str | None = None
        """The answer to every mail, such as `550 no such user`."""
        self._login = LoginPassword(user.encode(), password.encode())
        self._controller = Controller(
            self,
            hostname="127.0.0.1",
            port=self.port,
            authenticator=self._authenticate,
            auth_required=True,
            auth_require_tls=False,
        )
        self._controller.start()

    def close(self) -> None:
        """End it."""
        self._controller.stop()

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802  # aiosmtpd's name
        """Keep a mail."""
        if self.refuses_with is not None:
            return self.refuses_with
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.mails.append(Mail(envelope.mail_from, envelope.rcpt_tos, message))
        return "250 OK"

    def _authenticate(
        self, _server: object, _session: object, _envelope: object, _mechanism: str, data: object
    ) -> AuthResult:
        return AuthResult(success=data == self._login, handled=False)

"""What a single answer says, and how paths are sent."""

from __future__ import annotations

from limpet_backend_sftp.protocol import Kind, ProtocolError, Status, decode_status, string
from limpet_backend_sftp.session import Answer


def encode_path(path: str) -> bytes:
    """The path as the field of a request; names are bytes to the server."""
    return string(path.encode("utf-8", "surrogateescape"))


def is_status(answer: Answer, code: Status) -> bool:
    """Whether the answer is a refusal with this code."""
    if answer.kind != Kind.STATUS:
        return False
    error = decode_status(answer.body)
    return error is not None and error.code == code


def file_size(answer: Answer) -> int:
    """What FSTAT says; StatusError, ProtocolError."""
    size = answer.expect(Kind.ATTRS).attributes().size_bytes
    if size is None:
        raise ProtocolError("the server tells no size of an open file")
    return size

"""Rates by client: where there is none, nobody waits."""

from __future__ import annotations

import asyncio

from limpet_command_serve.rate import ClientRate


def test_no_limit_waits_for_nothing() -> None:
    """A server without rates must not pay for them."""
    rate = ClientRate()
    assert rate.request("x") == 0
    assert rate.download_piece_bytes is None
    assert rate.upload_piece_bytes is None
    asyncio.run(rate.uploaded("x", 1 << 60))
    asyncio.run(rate.downloading("x", 1 << 60))

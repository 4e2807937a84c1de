"""Reads the begin of a device that it has frozen, and waits: `python -m tests.device.slow_reader LIMIT_S DEVICE`.

It prints `reading`, goes on once it is given a line, and prints `whole`, or why the content is none.
"""

from __future__ import annotations

import sys

from limpet.contracts.source import SourceRequest
from limpet.errors import SourceError
from limpet_source_device import DeviceSource

BEGIN_BYTES = 100_000
PIECE_BYTES = 1024 * 1024


def main(limit_s: float, device: str) -> None:
    """As the core does it, but slowly."""
    source = DeviceSource.open(SourceRequest([f"//{device}"], {"freeze": True, "freeze_limit": limit_s}))
    try:
        (target,) = source.targets()
        assert target.entry.stream is not None
        with target.entry.stream() as stream:
            assert len(stream.read(BEGIN_BYTES)) == BEGIN_BYTES
            print("reading", flush=True)
            sys.stdin.readline()
            while stream.read(PIECE_BYTES):
                pass
        source.finish()
        print("whole", flush=True)
    except SourceError as error:
        print(error, flush=True)
    finally:
        source.close()


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2])

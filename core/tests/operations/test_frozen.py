"""What a frozen copy lacks is told: a backup with a hole that nobody knows of is found out at the restore."""

from __future__ import annotations

import pytest
from limpet.contracts.mounts import Mount
from limpet.operations.frozen import warn_of_mounts_inside
from limpet.testing.listening import Listening


def mount(folder: str, kind: str = "ext4") -> Mount:
    """A file system of its own."""
    return Mount(folder, "/", kind, "/dev/x", (8, 1))


SYSTEM = [
    mount("/"),
    mount("/proc", "proc"),
    mount("/run", "tmpfs"),
    mount("/no-home"),
    mount("/no-home/media"),
    mount("/run/limpet/one/mounted"),
    mount("/run/limpet/two/mounted"),
]


@pytest.mark.parametrize(
    ("read_from", "also_named", "lacking"),
    [
        ({}, ["/"], None),
        ({"/": "/run/limpet/one/mounted"}, [], "/no-home, /no-home/media, /run/limpet/two/mounted;"),
        ({"/": "/run/limpet/one/mounted"}, ["/no-home/media"], "/no-home, /run/limpet/two/mounted;"),
        (
            {"/": "/run/limpet/one/mounted", "/no-home": "/run/limpet/two/mounted"},
            ["/no-home/media"],
            None,
        ),
        ({"/": "/.copy", "/no-home/media/x": "/no-home/media/.copy/x"}, [], "/no-home, /no-home/media, /run/limpet/"),
        ({"/no-home/media": "/run/limpet/one/mounted"}, [], None),
        ({"/no-homer": "/run/limpet/one/mounted"}, [], None),
    ],
)
def test_mounts_inside(read_from: dict[str, str], also_named: list[str], lacking: str | None) -> None:
    """What was named as well, what the kernel makes up, and the copies themselves are not missing."""
    reporter = Listening()
    warn_of_mounts_inside(read_from, [*read_from, *also_named], reporter, SYSTEM)
    if lacking is None:
        assert reporter.warnings == []
    else:
        assert len(reporter.warnings) == 1
        assert f"lacks what is mounted inside: {lacking}" in reporter.warnings[0]


def test_many_are_cut_short() -> None:
    """A machine with a hundred containers has as many mounts."""
    reporter = Listening()
    table = [mount("/"), *(mount(f"/containers/{number:02}") for number in range(17))]
    warn_of_mounts_inside({"/": "/copy"}, ["/"], reporter, table)
    assert "/containers/04 and 12 more; to have it" in reporter.warnings[0]

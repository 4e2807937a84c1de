"""The LVM hook: the contract where there is no LVM, and real volumes in a virtual machine."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
from limpet.testing.hook import HookConformance
from limpet_hook_lvm import LvmHook

from tests.services.process import ROOT, program
from tests.services.virtual_machine import VirtualMachine

IN_THE_MACHINE = Path(__file__).with_name("in_virtual_machine.py")

SCRIPT = """\
for module in dm-mod dm-snapshot dm-thin-pool ext4 xfs loop; do modprobe $module || exit 1; done
# No udev runs here, which would make the devices' names.
export DM_DISABLE_UDEV=1
mkdir -p /etc/lvm /run/tmp
cat > /etc/lvm/lvmlocal.conf << 'END'
devices { obtain_device_list_from_udev = 0 }
activation { udev_sync = 0 udev_rules = 0 monitoring = 0 verify_udev_operations = 1 }
global { use_lvmpolld = 0 }
END
cd @ROOT@ || exit 1
export TMPDIR=/run/tmp PYTHONDONTWRITEBYTECODE=1
timeout 1000 @PYTHON@ -m pytest -p no:cacheprovider -v --durations 5 @TESTS@ -k @PART@
"""


class TestConformance(HookConformance):
    """The contract's own suite where nothing is on LVM."""

    hook_class = LvmHook


@pytest.mark.long
@pytest.mark.parametrize("part", ["Conformance or moment", "not Conformance and not moment"])
def test_real_volumes_in_a_virtual_machine(tmp_path: Path, part: str) -> None:
    """No stand-in for LVM fails as LVM does; the kernel of a container has no device mapper."""
    for name in ("lvm", "mkfs.ext4", "mkfs.xfs"):
        program(name)
    script = tmp_path / "script"
    words = {"@ROOT@": str(ROOT), "@PYTHON@": sys.executable, "@TESTS@": str(IN_THE_MACHINE), "@PART@": part}
    text = SCRIPT
    for word, value in words.items():
        text = text.replace(word, shlex.quote(value))
    script.write_text(text)
    finished = VirtualMachine(tmp_path / "machine").run(script, disks_mib=[2048])
    assert finished.succeeded, finished.console
    assert " passed" in finished.console

"""One container on Azurite for restic's own azure backend and for ours, each with the same variables and no more.

restic makes the URL out of the account's name, with the host of Azure itself: a proxy on loopback, which both programs
take from the environment, leads to Azurite's TLS port instead. It is restic 0.14: Debian builds 0.19 without this
backend.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.cli.main import main
from limpet.testing.certificates import identity
from limpet.testing.restic import Restic

from tests.backends.round_trips import limpet_goes_on, restic_goes_on
from tests.services.azurite_server import KEY, AzuriteServer
from tests.services.connect_proxy import ConnectProxy

PASSWORD = "interop"
ACCOUNT = "limpetinterop"
"""Not the emulator's own, for which restic's library knows a port of its own."""
HOST = f"{ACCOUNT}.blob.core.windows.net"

pytestmark = pytest.mark.interop


class Way:
    """Both programs on one repository."""

    def __init__(self, container: str, authority: Path) -> None:
        self.location = f"azure:{container}:/a/repository"
        self._authority = authority

    def limpet(self, *arguments: str | Path) -> int:
        """The exit code of Limpet with this command."""
        return main(["--no-cache", "--cacert", str(self._authority), "-r", self.location, *map(str, arguments)])

    def restic(self, restic: Restic, *arguments: str | Path) -> bytes:
        """What restic prints; AssertionError if it fails."""
        return restic.run("--cacert", self._authority, *arguments, repo=self.location, password=PASSWORD).stdout


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The URL of the proxy to a running Azurite, and the certificate to trust."""
    folder = tmp_path_factory.mktemp("azurite")
    own = identity("azurite", HOST)
    authority = folder / "authority.pem"
    authority.write_bytes(own.certificate)
    with (
        AzuriteServer(folder, account=ACCOUNT, certificate=Path(own.write(folder / "server.pem"))) as server,
        ConnectProxy(server.port) as proxy,
    ):
        yield proxy.url, authority
        assert set(proxy.asked) == {f"{HOST}:443"}


@pytest.fixture
def way(request: pytest.FixtureRequest, cloud: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> Way:
    """A container of its own."""
    proxy, authority = cloud
    for name in ("AZURE_ACCOUNT_SAS", "AZURE_ENDPOINT_SUFFIX", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    variables = {"AZURE_ACCOUNT_NAME": ACCOUNT, "AZURE_ACCOUNT_KEY": KEY, "LIMPET_PASSWORD": PASSWORD}
    for name, value in {**variables, "HTTPS_PROXY": proxy, "https_proxy": proxy}.items():
        monkeypatch.setenv(name, value)
    return Way(request.node.name.replace("_", "-"), authority)


def test_restic_goes_on_with_ours(restic_old: Restic, way: Way, tmp_path: Path) -> None:
    """What Limpet put into Azure must be readable without Limpet, and be written to."""
    restic_goes_on(way, restic_old, tmp_path)


def test_we_go_on_with_restics(restic_old: Restic, way: Way, tmp_path: Path) -> None:
    """A repository that restic has made in Azure is taken over as it is."""
    limpet_goes_on(way, restic_old, tmp_path)

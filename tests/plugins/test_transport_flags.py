"""The flags about the network, end to end: a stranger's backend is opened with what they say."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from limpet import registry
from limpet.contracts.transport import Transport
from limpet.registry.contained_backend import ContainedBackend
from limpet.testing.certificates import identity
from limpet.testing.site import Site

NET = """
    import dataclasses, json, os, time
    from limpet.contracts.backend import BackendProperties
    from limpet.contracts.options import Option
    from limpet.contracts.transport import DEFAULT_TRANSPORT
    from limpet_backend_local import LocalBackend

    class Net(LocalBackend):
        '''A folder that passes for a server; each opening is written to the file `opened.json` beside it.'''
        contract_version = 1
        options = (Option("hang", "hang in the first look at the config", type="boolean", default=False),)

        @classmethod
        def open(cls, location, options, transport=DEFAULT_TRANSPORT):
            with open("opened.json", "w") as file:
                json.dump(dataclasses.asdict(transport), file)
            made = cls(os.path.abspath(location))
            made.properties = BackendProperties(connections=2, atomic_replace=True, needs_watchdog=True)
            made.hang = options["hang"]
            return made

        def stat(self, handle):
            if self.hang:
                self.hang = False
                time.sleep(600)
            return super().stat(handle)
    """


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """The backend `net`, installed, and a repository on it."""
    folder, home = tmp_path / "site", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    site = Site(folder, home)
    site.install("stranger-net", {"limpet.backends": {"net": "stranger_net:Net"}}, {"stranger_net": NET})
    done = site.limpet("-r", "net:repository", "init", LIMPET_PASSWORD="x")
    assert done.returncode == 0, done.stderr
    return site


def opened_with(site: Site, *arguments: str, **environment: str) -> Transport:
    """What the backend gets from a command with these arguments and variables."""
    done = site.limpet("-r", "net:repository", *arguments, "snapshots", LIMPET_PASSWORD="x", **environment)
    assert done.returncode == 0, done.stderr
    fields = json.loads((site.home / "opened.json").read_text())
    fields["root_certificates"] = tuple(fields["root_certificates"])
    return Transport(**fields)


def test_without_flags(site: Site) -> None:
    """The defaults are restic's: certificates are checked, and requests given up after five minutes."""
    assert opened_with(site) == Transport((), None, True, None, 300.0)


def test_flags(site: Site) -> None:
    """--cacert and its kin would be taken and forgotten on the way to the one who needs them."""
    file = identity("anybody").write(site.home / "anybody.pem")
    flags = ["--cacert", f"{file},{file}", "--cacert", file, "--tls-client-cert", file, "--insecure-tls"]
    flags += ["--http-user-agent", "wrapper/1", "--stuck-request-timeout", "1m30s"]
    assert opened_with(site, *flags) == Transport((file,) * 3, file, False, "wrapper/1", 90.0)


def test_variables(site: Site) -> None:
    """The same by environment, where restic has a variable; a flag comes first."""
    file = identity("anybody").write(site.home / "anybody.pem")
    seen = opened_with(site, RESTIC_CACERT=f"{file},{file}", RESTIC_TLS_CLIENT_CERT=file, RESTIC_HTTP_USER_AGENT="a/1")
    assert seen == Transport((file, file), file, True, "a/1", 300.0)
    assert opened_with(site, "--cacert", file, RESTIC_CACERT="missing").root_certificates == (file,)
    off = opened_with(site, RESTIC_FEATURES="backend-error-redesign=false")
    assert off.stuck_request_timeout_s is None


def test_a_stuck_request_is_made_again(site: Site) -> None:
    """One lost answer would hold the run for ever, where the backend's library has no time limit."""
    begin = time.monotonic()
    done = site.limpet(
        *["-r", "net:repository", "-o", "net.hang=true", "--stuck-request-timeout", "500ms", "snapshots"],
        LIMPET_PASSWORD="x",
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"stat config failed, trying again in .*: no answer from .* for 0\.5s", done.stderr)
    assert time.monotonic() - begin < 60


def test_the_library_takes_it_too(site: Site) -> None:
    """Who writes a program of his own has the same servers."""
    done = site.run(
        """
        import limpet, json
        transport = limpet.Transport(user_agent="program/2", verify_tls=False)
        with limpet.open_repository("net:repository", "x", transport=transport) as repository:
            print(json.load(open("opened.json"))["user_agent"], len(limpet.snapshots(repository)))
        """
    )
    assert done.stdout == "program/2 0\n", done.stderr


def test_one_that_ignores_it(tmp_path: Path) -> None:
    """The local backend has no network: the flags of an alias for all repositories must not disturb it."""
    transport = Transport(user_agent="x", stuck_request_timeout_s=1.0)
    backend = registry.open_backend(str(tmp_path), transport=transport)
    assert isinstance(backend, ContainedBackend)
    assert type(backend.inner).__name__ == "LocalBackend"

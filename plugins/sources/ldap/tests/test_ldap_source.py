"""LDAP as a source and back, with a real slapd: every entry with all its attributes, or no snapshot."""

from __future__ import annotations

import base64
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from limpet.contracts.destination import DestinationRequest
from limpet.contracts.source import Source, SourceRequest
from limpet.errors import UsageError
from limpet.testing.restic import Restic
from limpet.testing.source import SourceConformance
from limpet_source_ldap import LdapDestination, LdapSource
from limpet_source_ldap.databases import entries

from tests.services.slapd_server import OTHER_SUFFIX, PASSWORD, SUFFIX, SlapdConfiguration, SlapdServer
from tests.sources.runs import PASSWORD as REPOSITORY_PASSWORD
from tests.sources.runs import TIMEOUT_S, Runs, wait_until

DATA, OTHER, CONFIG = (f"/ldap/localhost/{name}.ldif" for name in (SUFFIX, OTHER_SUFFIX.replace("/", "_"), "config"))
PICTURE = bytes(range(256)) * 2000
PEOPLE = 300


def encoded(text: str | bytes) -> str:
    """As LDIF has what is no plain text."""
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


CONTENT = f"""dn: {SUFFIX}
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: ou=people,{SUFFIX}
objectClass: organizationalUnit
ou: people

dn:: {encoded(f"cn=Grüße 世界 🐚,ou=people,{SUFFIX}")}
objectClass: inetOrgPerson
cn:: {encoded("Grüße 世界 🐚")}
sn:: {encoded(" a blank before")}
description: {"a long line, " * 1000}
description:: {encoded("two" + chr(10) + "lines")}
jpegPhoto:: {encoded(PICTURE)}
userPassword: {{SSHA}}4nxh4hYnVV1nm0ZnSTDOVyMnVHCRh0pa

""" + "".join(
    f"dn: cn=person {number},ou=people,{SUFFIX}\nobjectClass: person\ncn: person {number}\nsn: 0\n\n"
    for number in range(PEOPLE)
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlapdServer]:
    """A directory with people in it, and an empty one beside it."""
    with SlapdServer(tmp_path_factory.mktemp("slapd")) as server:
        server.add(CONTENT)
        yield server


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """The command line and a repository."""
    return Runs(tmp_path / "runs")


def all_of(server: SlapdServer) -> str:
    """The address of all databases."""
    return f"ldap:///?config={server.configuration.config}"


def same(ldif: str, other: str) -> bool:
    """Whether both hold the same entries, whatever the order of their attributes."""

    def content(text: str) -> list[list[tuple[str, list[str]]]]:
        return [sorted((name, sorted(values)) for name, values in entry.items()) for entry in entries(text)]

    return content(ldif) == content(other)


class TestAllDatabases(SourceConformance):
    """The configuration, the database with people and the one without."""

    @pytest.fixture
    def source(self, server: SlapdServer) -> Iterator[Source]:
        """Three files."""
        source = LdapSource.open(SourceRequest([f"///?config={server.configuration.config}"]))
        yield source
        source.close()

    @pytest.fixture
    def bad_request(self, server: SlapdServer) -> SourceRequest:
        """A base that no database has."""
        return SourceRequest([f"///dc=nowhere?config={server.configuration.config}"])


class TestOneDatabase(SourceConformance):
    """By its base, out of a configuration in a file."""

    @pytest.fixture
    def source(self, server: SlapdServer) -> Iterator[Source]:
        """One file."""
        source = LdapSource.open(SourceRequest([f"///{SUFFIX}?config={server.configuration.file}"]))
        yield source
        source.close()

    @pytest.fixture
    def bad_request(self, tmp_path: Path) -> SourceRequest:
        """A configuration of nothing."""
        (tmp_path / "slapd.conf").write_text("what is this\n")
        return SourceRequest([f"///?config={tmp_path}/slapd.conf"])


def test_round_trip(server: SlapdServer, runs: Runs, tmp_path: Path, restic_any: Restic) -> None:
    """A directory that comes back with another entryUUID or password hash is another directory to all its clients."""
    runs.run("backup", all_of(server))
    restic_any.run("check", "--read-data", repo=runs.repository, password=REPOSITORY_PASSWORD)
    restic_any.run(
        "restore", "latest", "--target", tmp_path / "out", repo=runs.repository, password=REPOSITORY_PASSWORD
    )
    dump = server.configuration.dump()
    assert Path(f"{tmp_path}/out{DATA}").read_text() == dump
    assert dump.count("\ncn: person ") == PEOPLE
    assert encoded(PICTURE) in dump
    fresh = SlapdConfiguration(tmp_path / "fresh")
    runs.run("restore", "latest", "--into", f"ldap:///{SUFFIX}?config={fresh.config}")
    assert fresh.dump() == dump
    assert "entryUUID" in dump


def test_configuration_round_trip(server: SlapdServer, runs: Runs, tmp_path: Path) -> None:
    """Without its schema and its access rules the data alone makes no server."""
    runs.run("backup", all_of(server))
    config = tmp_path / "slapd.d"
    config.mkdir()
    runs.run("restore", "latest", "--into", f"ldap:///?config={config}&database=0")
    stored = runs.restored(CONFIG).decode()
    with closing(LdapSource.open(SourceRequest([f"///?config={config}&database=0"]))) as source:
        [target] = source.targets()
        assert target.entry.stream is not None
        with target.entry.stream() as stream:
            assert same(stream.read().decode(), stored)
    assert f"olcRootPW:: {encoded(PASSWORD)}" in stored


def test_all_databases_and_no_others(server: SlapdServer, runs: Runs) -> None:
    """A database that is left out is lost; one that only shows the server's state is nothing to keep."""
    runs.run("backup", all_of(server))
    listed = [line for line in runs.run("ls", "latest").splitlines() if line.endswith(".ldif")]
    assert listed == sorted([CONFIG, DATA, OTHER])
    assert runs.restored(OTHER) == b"", "it has no entry"


def test_all_databases_of_a_configuration_file(server: SlapdServer, runs: Runs) -> None:
    """Old servers have a slapd.conf, which has no database of its own."""
    runs.run("backup", f"ldap:///?config={server.configuration.file}")
    listed = [line for line in runs.run("ls", "latest").splitlines() if line.endswith(".ldif")]
    assert listed == sorted([DATA, OTHER])
    assert runs.restored(DATA).decode() == server.configuration.dump()


def test_by_number(server: SlapdServer, runs: Runs) -> None:
    """A database is also known by its place in the configuration."""
    runs.run("backup", f"ldap:///?config={server.configuration.config}&database=1")
    assert runs.restored("/ldap/localhost/database-1.ldif").decode() == server.configuration.dump()


def test_unchanged_directory_adds_no_data(server: SlapdServer, runs: Runs) -> None:
    """A dump in another order, or with the time in it, would be stored anew every night."""
    assert runs.backup(all_of(server))["data_blobs"] >= 2
    assert runs.backup(all_of(server))["data_blobs"] == 0


def test_consistent_while_somebody_writes(server: SlapdServer, runs: Runs) -> None:
    """Two attributes that are always changed together must be the same in the dump: it is of one moment."""
    done = threading.Event()
    counts = [0]

    def write() -> None:
        while not done.is_set():
            counts[0] += 1
            value = str(counts[0])
            # One request each: what was changed in the first is older than what was changed in the last.
            server.modify(
                "\n\n".join(
                    f"dn: cn=person {number},ou=people,{SUFFIX}\nchangetype: modify\nreplace: sn\nsn: {value}\n-\n"
                    f"replace: description\ndescription: {value}"
                    for number in (0, PEOPLE // 2, PEOPLE - 1)
                )
                + "\n"
            )

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(2):
            before = counts[0]
            runs.run("backup", all_of(server))
            found = {entry["cn"][0]: entry for entry in entries(runs.restored(DATA).decode()) if "cn" in entry}
            wrote = [found[f"person {number}"] for number in (0, PEOPLE // 2, PEOPLE - 1)]
            assert all(entry["sn"] == entry.get("description", ["0"]) for entry in wrote)
            values = [int(entry["sn"][0]) for entry in wrote]
            assert values == sorted(values, reverse=True)
            assert values[0] - values[-1] <= 1, "of one moment"
            assert before < counts[0], "it was written meanwhile"
    finally:
        done.set()
        writer.join()


def test_server_that_is_down_is_read_all_the_same(tmp_path: Path, runs: Runs) -> None:
    """slapcat reads the files: a directory can be saved whose server does not start any more."""
    with SlapdServer(tmp_path / "slapd") as server:
        server.add(CONTENT)
        server.kill()
        runs.run("backup", all_of(server))
        assert runs.restored(DATA).decode() == server.configuration.dump()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ldap:///dc=nowhere?config={config}", 'no backend for "dc=nowhere"'),
        ("ldap:///?config={config}&database=17", "range"),
        ("ldap:///?config={folder}/empty", "ldap:///?config="),
        ("ldap:///?config={folder}/nowhere", "there is no configuration"),
    ],
)
def test_what_is_not_there(address: str, words: str, server: SlapdServer, runs: Runs) -> None:
    """One line that names it, and no snapshot."""
    (runs.folder / "empty").mkdir()
    said = runs.refused(address.format(config=server.configuration.config, folder=runs.folder))
    assert words in said


def test_damaged_database_is_no_snapshot(tmp_path: Path, runs: Runs) -> None:
    """slapcat that gives up amid a damaged database has written a file that looks whole: its exit code tells."""
    with SlapdServer(tmp_path / "slapd") as server:
        server.add(CONTENT)
        server.kill()
    database = server.configuration.folder / "data/data.mdb"
    os.truncate(database, 3 * 4096)
    assert "slapcat failed" in runs.refused(f"ldap:///{SUFFIX}?config={server.configuration.config}")


def slow_slapcat(folder: Path) -> Path:
    """A folder for PATH with a slapcat that writes half of its dump and then waits; `pid` says who it is."""
    tools = folder / "tools"
    tools.mkdir()
    (tools / "slapcat").write_text(
        f'#!/bin/sh\n/usr/sbin/slapcat "$@" | head -c 1000\necho $$ > {folder}/pid.new\n'
        f"mv {folder}/pid.new {folder}/pid\nexec sleep 1000\n"
    )
    (tools / "slapcat").chmod(0o755)
    return tools


def test_killed_slapcat_is_no_snapshot(server: SlapdServer, tmp_path: Path) -> None:
    """Half a directory parses as well as a whole one."""
    runs = Runs(tmp_path / "runs", {"PATH": f"{slow_slapcat(tmp_path)}:{os.environ['PATH']}"})
    process = runs.start("backup", f"ldap:///{SUFFIX}?config={server.configuration.config}")
    wait_until((tmp_path / "pid").exists)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert "signal: killed" in errors
    assert runs.snapshot_count() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_leaves_nothing_running(number: int, server: SlapdServer, tmp_path: Path) -> None:
    """A slapcat that goes on keeps the database's old pages from being used again."""
    runs = Runs(tmp_path / "runs", {"PATH": f"{slow_slapcat(tmp_path)}:{os.environ['PATH']}"})
    runs.stopped(f"ldap:///{SUFFIX}?config={server.configuration.config}", at=(tmp_path / "pid").exists, number=number)
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


def test_restore_over_entries_is_refused(server: SlapdServer, runs: Runs, tmp_path: Path) -> None:
    """slapadd would stop at the first name that is there, and leave a mixture of two directories."""
    runs.run("backup", all_of(server))
    fresh = SlapdConfiguration(tmp_path / "fresh")
    address = f"ldap:///{SUFFIX}?config={fresh.config}"
    runs.run("restore", "latest", "--into", address)
    before = fresh.dump()
    assert "holds entries" in runs.run("restore", "latest", "--into", address, exit_code=1)
    assert fresh.dump() == before
    config = f"ldap:///?config={fresh.config}&database=0"
    assert "is not empty" in runs.run("restore", "latest", "--into", config, exit_code=1)


@pytest.mark.parametrize("form", ["config", "file"])
def test_restore_under_a_running_server_is_refused(form: str, server: SlapdServer, runs: Runs) -> None:
    """slapd knows nothing of what slapadd writes beside it, and writes over it."""
    runs.run("backup", all_of(server))
    place = getattr(server.configuration, form)
    said = runs.run("restore", f"latest:{OTHER}", "--into", f"ldap:///{SUFFIX}?config={place}", exit_code=1)
    assert f"slapd runs with it (process {server.process.pid})" in said


def test_restore_of_what_does_not_fit_changes_nothing(runs: Runs, tmp_path: Path) -> None:
    """slapadd fails at the first entry that the schema does not know: it is tried before anything is written."""
    (tmp_path / "strange.ldif").write_text(f"{CONTENT}dn: cn=x,{SUFFIX}\nobjectClass: unknownClass\ncn: x\n")
    runs.run("backup", tmp_path / "strange.ldif")
    fresh = SlapdConfiguration(tmp_path / "fresh")
    said = runs.run(
        "restore", f"latest:{tmp_path}/strange.ldif", "--into", f"ldap:///{SUFFIX}?config={fresh.config}", exit_code=1
    )
    assert "slapadd failed: exit status 1" in said
    runs.run("backup", f"ldap:///{SUFFIX}?config={fresh.config}", exit_code=1)  # still as new
    assert not (fresh.folder / "data/data.mdb").exists()


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("dc=example", "not of the form"),
        ("//server/dc=example", "on the machine where its slapd runs"),
        ("//admin:secret@localhost/dc=example", "holds a password"),
        ("///dc=example?database=1", "one is enough"),
        ("///?database=one", "is no number"),
        ("///?base=dc=x", "'base' is not known"),
    ],
)
def test_addresses_that_make_no_sense(rest: str, words: str) -> None:
    """Said before anything is done, and without a password that is in it."""
    for opened in (
        lambda: LdapSource.open(SourceRequest([rest])),
        lambda: LdapDestination.open(DestinationRequest(rest)),
    ):
        with pytest.raises(UsageError, match=words) as refused:
            opened()
        assert "secret" not in str(refused.value)


def test_destination_wants_the_right_file(tmp_path: Path) -> None:
    """A configuration among the people, or people in the configuration, is no directory."""
    config = SlapdConfiguration(tmp_path / "slapd").config
    data = LdapDestination.open(DestinationRequest(f"///{SUFFIX}?config={config}"))
    assert data.wanted([CONFIG, DATA, OTHER]) == [DATA]
    assert data.wanted([OTHER]) == [OTHER]
    with pytest.raises(UsageError, match="no database but a configuration"):
        data.wanted([CONFIG])
    other = LdapDestination.open(DestinationRequest(f"///?config={config}&database=1"))
    with pytest.raises(UsageError, match="more than one"):
        other.wanted([CONFIG, DATA, OTHER])
    (tmp_path / "new").mkdir()
    configuration = LdapDestination.open(DestinationRequest(f"///?config={tmp_path}/new&database=0"))
    assert configuration.wanted([CONFIG, DATA, OTHER]) == [CONFIG]
    with pytest.raises(UsageError, match="no configuration"):
        configuration.wanted([DATA])
    for place in (f"///?config={config}", "///?database=0"):
        with pytest.raises(UsageError):
            LdapDestination.open(DestinationRequest(place))

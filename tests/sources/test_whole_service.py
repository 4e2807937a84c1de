"""One snapshot of a whole service: its files, its databases, its disk and its volume; and every part of it back."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.testing.restic import Restic

from tests.services.kubernetes_server import KubernetesServer
from tests.services.postgres_server import PostgresServer
from tests.sources.runs import PASSWORD, Runs

MIB = 1 << 20


class Service:
    """A shop: web pages, orders in PostgreSQL, sessions in SQLite, a disk image, photos in a volume claim."""

    def __init__(self, folder: Path, database: PostgresServer, cluster: KubernetesServer) -> None:
        self.database = database
        self.pages = folder / "pages"
        self.pages.mkdir()
        (self.pages / "index.html").write_text("<h1>Shop</h1>")
        self.sessions = folder / "sessions.db"
        with sqlite3.connect(self.sessions) as sessions:
            sessions.execute("CREATE TABLE sessions (who TEXT)")
            sessions.executemany("INSERT INTO sessions VALUES (?)", [("anna",), ("ünal",)])
        sessions.close()
        self.disk = folder / "disk.img"
        with self.disk.open("wb") as disk:
            disk.write(random.Random(1).randbytes(3 * MIB))
            disk.truncate(40 * MIB)
        (cluster.claim_folder("prod", "photos") / "sea.jpg").write_bytes(random.Random(2).randbytes(MIB))
        self.runs = Runs(folder / "runs", {"KUBECONFIG": str(cluster.kubeconfig)} | database.environment)

    @property
    def arguments(self) -> list[str | Path]:
        """What is backed up."""
        return [
            self.pages,
            self.database.address("shop"),
            f"sqlite:{self.sessions}",
            f"device:{self.disk}",
            "kubernetes://prod/photos",
            "command:shop/version.txt=echo 1.0",
        ]


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresServer]:
    """A server with the orders."""
    server = PostgresServer()
    server.sql("CREATE DATABASE shop")
    server.sql("CREATE TABLE orders AS SELECT g AS id, md5(g::text) AS text FROM generate_series(1, 20000) g", "shop")
    yield server
    server.close()


@pytest.fixture
def service(tmp_path: Path, database: PostgresServer) -> Iterator[Service]:
    """All of it, running."""
    (tmp_path / "cluster").mkdir()
    with KubernetesServer(tmp_path / "cluster") as cluster:
        cluster.add("v1", "namespaces", "prod", {"metadata": {"uid": "one"}})
        cluster.add_claim("photos")
        cluster.add_pod("shop-0", {"photos": "/photos"}, uid="pod-uid-0")
        yield Service(tmp_path, database, cluster)


def test_there_and_back(service: Service, tmp_path: Path, restic_new: Restic) -> None:
    """A service whose files are of noon and whose orders are of last week is not restored."""
    runs = service.runs
    runs.backup(*service.arguments)
    restic_new.run("check", "--read-data", repo=runs.repository, password=PASSWORD)
    out = tmp_path / "restored"
    restic_new.run("restore", "latest", "--target", out, repo=runs.repository, password=PASSWORD)
    restored = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert {
        name for name in restored if name.startswith(("postgres/", "sqlite/", "device/", "kubernetes/", "shop/"))
    } == {
        f"{service.database.snapshot_folder.strip('/')}/shop.sql",
        f"sqlite{service.sessions}",
        f"device{service.disk}",
        "kubernetes/prod/volumes/photos/sea.jpg",
        "shop/version.txt",
    }
    assert (out / str(service.pages / "index.html").lstrip("/")).read_text() == "<h1>Shop</h1>"
    is_same = (out / f"device{service.disk}").read_bytes() == service.disk.read_bytes()
    assert is_same
    # Back into what they came from, or rather beside it.
    runs.run("restore", "latest", "--into", service.database.address("shop_copy"))
    question = "SELECT count(*), md5(string_agg(text, ',' ORDER BY id)) FROM orders"
    assert service.database.sql(question, "shop_copy") == service.database.sql(question, "shop")
    service.database.sql("DROP DATABASE shop_copy")
    runs.run("restore", "latest", "--into", f"sqlite:{tmp_path}/copy.db")
    with sqlite3.connect(tmp_path / "copy.db") as copy:
        assert copy.execute("SELECT who FROM sessions").fetchall() == [("anna",), ("ünal",)]
    copy.close()
    runs.run("restore", "latest", "--into", f"device:{tmp_path}/copy.img")
    is_same = (tmp_path / "copy.img").read_bytes() == service.disk.read_bytes()
    assert is_same
    assert os.stat(tmp_path / "copy.img").st_blocks * 512 < 8 * MIB


def test_again_stores_nothing_new(service: Service) -> None:
    """Every night a copy of everything would fill the disk by Christmas."""
    service.runs.backup(*service.arguments)
    again = service.runs.backup(*service.arguments)
    assert again["data_added"] < 64 << 10
    assert again["files_unmodified"] + again["files_changed"] >= 1
    assert again["files_new"] == 0


def test_one_part_that_fails(service: Service, restic_new: Restic) -> None:
    """Half a service would be restored as if it were whole; who wants the rest has to say so."""
    runs = service.runs
    broken = [*service.arguments, service.database.address("no_such_database")]
    assert "no_such_database" in runs.refused(*broken)
    said = runs.run("backup", "--allow-partial", *broken, exit_code=3)
    assert "left out of the snapshot" in said
    listed = restic_new.run("ls", "latest", repo=runs.repository, password=PASSWORD).stdout.decode().splitlines()
    files = [line for line in listed if line.startswith("/")]
    assert f"{service.database.snapshot_folder}/shop.sql" in files
    assert not [file for file in files if "no_such_database" in file]
    runs.run("restore", "latest:/shop/version.txt", "--into", "command:grep -q 1.0")

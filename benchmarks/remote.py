"""Limpet beside restic over real servers on loopback, with and without 20 ms of latency, alternately in one run.

    python benchmarks/remote.py --restic PATH [--servers rest,s3,sftp] [--round-trips 0,20] [--rounds 3] [--write FILE]

Each program has repositories of its own on the same server, through its own backend. Prints a table like `compare.py`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the servers are those of the tests

from compare import heading, row, write_table  # noqa: E402
from datasets import build  # noqa: E402
from jobs import PASSWORD, Job, Tool  # noqa: E402

from tests.services.rclone_s3 import RcloneS3Server  # noqa: E402
from tests.services.rest_server import RestServer  # noqa: E402
from tests.services.sftp_server import SftpServer  # noqa: E402

SETS = ("mixed", "few")


@dataclass(frozen=True, slots=True)
class Server:
    """A place for repositories: how a program reaches them through a port, and where they are on this disk."""

    location: Callable[[int, str], str]
    folder: Path
    port: int
    options: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class RemoteTool(Tool):
    """One of the two programs, with repositories of its own on a server."""

    server: Server
    port: int
    made: Counter[str] = field(default_factory=Counter)
    """How often each repository was made anew: at another place each time, for servers remember folders."""

    def repository(self, name: str) -> Path:
        return self.server.folder / self._own(name)

    def command(self, repository: str, *arguments: str | Path) -> list[str]:
        location = self.server.location(self.port, self._own(repository))
        return [self.binary, "-r", location, *self.server.options, "-q", "--no-cache", *map(str, arguments)]

    def make(self, name: str) -> None:
        shutil.rmtree(self.repository(name), ignore_errors=True)
        self.made[name] += 1
        self.run(name, "init")

    def _own(self, name: str) -> str:
        return f"{self.folder.name}-{self.port}-{name}-{self.made[name]}"


@contextmanager
def rest(folder: Path) -> Iterator[Server]:
    """restic's rest-server."""
    server = RestServer(folder)
    try:
        yield Server(lambda port, name: f"rest:http://127.0.0.1:{port}/{name}/", server.data, server.port)
    finally:
        server.close()


@contextmanager
def s3(folder: Path) -> Iterator[Server]:
    """`rclone serve s3` over a folder."""
    with RcloneS3Server(folder) as server:
        os.environ.update(AWS_ACCESS_KEY_ID=server.s3_key, AWS_SECRET_ACCESS_KEY=server.s3_secret)
        bucket = server.root / "bucket"
        bucket.mkdir()
        yield Server(lambda port, name: f"s3:http://127.0.0.1:{port}/bucket/{name}", bucket, server.port)


@contextmanager
def sftp(folder: Path) -> Iterator[Server]:
    """OpenSSH's server."""
    with SftpServer(folder / "sftp") as server:
        config = server.ssh_config(StrictHostKeyChecking="no", UserKnownHostsFile="/dev/null", LogLevel="ERROR")
        yield Server(
            lambda port, name: f"sftp://{server.user}@127.0.0.1:{port}/{server.root}/{name}",
            server.root,
            server.port,
            ("-o", f"sftp.args={server.arguments(config)}"),
        )


SERVERS = {"rest": rest, "s3": s3, "sftp": sftp}


@contextmanager
def delayed(port: int, round_trip_ms: int) -> Iterator[int]:
    """The port through which the server is so far away."""
    if not round_trip_ms:
        yield port
        return
    program = [sys.executable, "-m", "tests.services.latency", str(port), str(round_trip_ms)]
    with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdout is not None
        try:
            yield int(proxy.stdout.readline())
        finally:
            proxy.kill()


def remote_jobs(where: str, data: dict[str, Path]) -> Iterator[Job]:
    """Back up and restore each data set."""
    for name, folder in data.items():
        yield Job(f"{where}: first backup, {name}", 1.0, _backup(folder), lambda tool: tool.make("new"))
        yield Job(f"{where}: restore, {name}", 1.0, _restore(name), _restorable(name, folder))


def _backup(folder: Path) -> Callable[[Tool], list[str]]:
    return lambda tool: tool.command("new", "backup", folder)


def _restore(name: str) -> Callable[[Tool], list[str]]:
    return lambda tool: tool.command(name, "restore", "latest", "--target", tool.folder / "restored")


def _restorable(name: str, folder: Path) -> Callable[[Tool], None]:
    def prepare(tool: Tool) -> None:
        if not tool.repository(name).exists():
            tool.make(name)
            tool.run(name, "backup", folder)
        shutil.rmtree(tool.folder / "restored", ignore_errors=True)

    return prepare


def main() -> int:
    """Measure and print."""
    arguments = _arguments()
    os.environ.update(RESTIC_PASSWORD=PASSWORD, LIMPET_PASSWORD=PASSWORD)
    binaries = {"restic": arguments.restic, "limpet": arguments.limpet}
    data = build(arguments.data, arguments.only.split(","))
    lines = []
    with tempfile.TemporaryDirectory(prefix="limpet-bench-", dir=arguments.scratch) as scratch, ExitStack() as stack:
        for name in arguments.servers.split(","):
            folder = Path(scratch, name)
            folder.mkdir()
            server = stack.enter_context(SERVERS[name](folder))
            for round_trip_ms in map(int, arguments.round_trips.split(",")):
                with delayed(server.port, round_trip_ms) as port:
                    tools = [
                        RemoteTool(binary, folder / tool, server=server, port=port) for tool, binary in binaries.items()
                    ]
                    for tool in tools:
                        tool.folder.mkdir(exist_ok=True)
                    where = f"{name}, {round_trip_ms} ms" if round_trip_ms else name
                    lines += [row(job, tools, arguments.rounds) for job in remote_jobs(where, data)]
    table = "\n".join([*heading(binaries, "servers on loopback"), *lines])
    print(table)
    if arguments.write:
        write_table(arguments.write, table, "remote benchmark")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--restic", required=True, help="restic 0.19.1")
    parser.add_argument("--limpet", default=shutil.which("limpet") or str(Path(sys.executable).with_name("limpet")))
    parser.add_argument("--data", type=Path, default=Path(".cache/bench-data"))
    parser.add_argument("--scratch", type=Path, default=None, help="where repositories go while it runs")
    parser.add_argument("--servers", default=",".join(SERVERS))
    parser.add_argument("--round-trips", default="0,20", help="milliseconds, with commas between")
    parser.add_argument("--only", default=",".join(SETS), help="data sets, with commas between")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path, help="a Markdown file with marks for the table")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

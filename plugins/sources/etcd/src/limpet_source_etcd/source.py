"""`EtcdSource`: all that an etcd cluster knows, as the snapshot that one of its members gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from limpet.contracts.destination import Destination
from limpet.contracts.dump import Dump, DumpSource
from limpet.contracts.made_dump import PrivateFolder, module_command
from limpet.contracts.options import Option
from limpet.contracts.password import password_options
from limpet.contracts.source import SourceRequest
from limpet.errors import UsageError

from limpet_source_etcd.cluster import SCHEME, Cluster
from limpet_source_etcd.destination import EtcdDestination
from limpet_source_etcd.tools import etcdctl


class EtcdSource(DumpSource):
    """Snapshots of etcd clusters, each checked before it is stored."""

    contract_version: ClassVar[int] = 1
    destination: ClassVar[type[Destination] | None] = EtcdDestination
    options: ClassVar[Sequence[Option]] = (
        *password_options(SCHEME),
        Option("tls", "talk TLS to the server, with the system's root certificates", type="boolean", default=False),
        Option("cacert", "file of the root certificates that the server's is checked with; TLS"),
        Option("cert", "file of the certificate that we show to the server; TLS"),
        Option("key", "file of the key of that certificate; TLS"),
        Option("tmpdir", "folder for the snapshot that is made, with room for it (default: that of TMPDIR)"),
    )

    def __init__(self, request: SourceRequest, clusters: Sequence[Cluster]) -> None:
        folder = request.options.get("tmpdir")
        self._folder = PrivateFolder(None if folder is None else str(folder))
        command = module_command("limpet_source_etcd.saver", self._folder.path)
        super().__init__(request, [Dump(one.path, command, one.environment, what=one.shown) for one in clusters])

    @classmethod
    def open(cls, request: SourceRequest) -> Self:
        """The source; UsageError for a bad address or option, or where etcdctl is missing. No server is asked."""
        if not request.targets:
            raise UsageError("etcd: no server was named: write etcd://HOST:2379")
        clusters = [Cluster.parse(target, request.options) for target in request.targets]
        paths = [cluster.path for cluster in clusters]
        if len(set(paths)) < len(paths):
            raise UsageError("etcd: a server is named twice: " + ", ".join(cluster.shown for cluster in clusters))
        etcdctl()
        return cls(request, clusters)

    def close(self) -> None:
        """End whatever still runs, and remove the snapshot."""
        super().close()
        self._folder.close()

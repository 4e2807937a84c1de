"""`EtcdDestination`: a snapshot becomes the data folder of a new member, which starts a new cluster."""

from __future__ import annotations

import os
import shutil
from typing import Self

from limpet.contracts.destination import Destination, DestinationRequest, StoredFile
from limpet.contracts.made_dump import PrivateFolder
from limpet.contracts.service import LOCALHOST, ServiceAddress
from limpet.errors import DestinationError, UsageError

from limpet_source_etcd import checksum
from limpet_source_etcd.cluster import SCHEME, SNAPSHOT
from limpet_source_etcd.tools import ToolError, etcdutl, run

MEMBER_FLAGS = ("name", "initial_cluster", "initial_cluster_token", "initial_advertise_peer_urls")
"""Parameters of the address that etcd's tool takes as flags of the same names."""


class EtcdDestination(Destination):
    """A folder that is not there yet; its parameters are what the new member is to be called, and who else there is."""

    def __init__(self, address: ServiceAddress, folder: str, temporary: PrivateFolder) -> None:
        self._address = address
        self._folder = folder
        self._temporary = temporary

    @classmethod
    def open(cls, request: DestinationRequest) -> Self:
        """The destination; UsageError for what is no path of this machine, or where something is there already."""
        address = ServiceAddress.parse(SCHEME, request.place)
        address.refuse_unknown_parameters(*MEMBER_FLAGS)
        if address.host not in {"", LOCALHOST} or address.port is not None or not address.path:
            raise UsageError(
                f"{address}: a snapshot goes into a new data folder of this machine: write etcd:///PATH/OF/FOLDER;"
                " no server takes one"
            )
        folder = os.path.abspath(f"/{address.path}")
        if os.path.lexists(folder):
            raise UsageError(f"{address}: there already is {folder}; name a folder that is not there yet")
        etcdutl()
        temporary = request.options.get("tmpdir")
        return cls(address, folder, PrivateFolder(None if temporary is None else str(temporary)))

    def receive(self, file: StoredFile) -> None:
        """Write the snapshot out, look that it is whole, and have etcd's tool make the folder of it."""
        path = os.path.join(self._temporary.path, SNAPSHOT)
        try:
            with open(path, "wb") as output:
                for piece in file.pieces():
                    output.write(bytes(piece.size_bytes) if piece.data is None else piece.data)
            found = checksum.problem(path)
        except OSError as error:
            raise DestinationError(f"{self._address}: cannot write the snapshot: {error.strerror or error}") from error
        if found:
            raise DestinationError(f"{self._address}: {file.path} is no snapshot of etcd: {found}")
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in self._address.parameters.items()]
        try:
            run([etcdutl(), "snapshot", "restore", path, f"--data-dir={self._folder}", *flags])
        except ToolError as error:
            shutil.rmtree(self._folder, ignore_errors=True)  # It was not there before.
            raise DestinationError(f"{self._address}: {error}") from error

    def close(self) -> None:
        """Remove the snapshot."""
        self._temporary.close()

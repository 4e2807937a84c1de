"""`BackendConformance`: what every backend must do, as a pytest class to inherit from.

class TestMyBackend(BackendConformance):
    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        backend = MyBackend.open(...)
        backend.create()
        yield backend
        backend.close()

    def back_door_read(self, backend, handle): ...
    def back_door_write(self, backend, handle, data): ...
"""

from limpet.testing.backend.contents import MIB, content_of, handle_of, save_all, some_bytes
from limpet.testing.backend.declared import DeclaredWell
from limpet.testing.backend.ending import Ended
from limpet.testing.backend.listing import Listed
from limpet.testing.backend.reading import Read
from limpet.testing.backend.refusing import Refused
from limpet.testing.backend.saving import Saved
from limpet.testing.backend.sharing import Shared

__all__ = ["MIB", "BackendConformance", "content_of", "handle_of", "save_all", "some_bytes"]


class BackendConformance(DeclaredWell, Saved, Read, Listed, Shared, Refused, Ended):
    """Inherit, give the fixture `backend` and the back door, and run pytest. What can be given: `StoreUnderTest`."""

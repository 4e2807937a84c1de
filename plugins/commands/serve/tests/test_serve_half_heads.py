"""Parts of heads: together they hold no more than a limit, and the oldest goes for it."""

from __future__ import annotations

from limpet_command_serve.half_heads import HalfHeads


class Client:
    """Notes whether it was given up."""

    is_given_up = False

    def give_up(self) -> None:
        """See `Half`."""
        self.is_given_up = True


def test_the_oldest_goes() -> None:
    """Who waits longest has had his time; who came last may be the one who backs up."""
    halves = HalfHeads(most_bytes=100)
    clients = [Client() for _ in range(5)]
    for client in clients:
        halves.hold(client, 20)
    halves.hold(clients[4], 50)
    assert [client.is_given_up for client in clients] == [True, True, False, False, False]


def test_what_is_whole_counts_no_more() -> None:
    """A count that only grows would end every connection after a day."""
    halves = HalfHeads(most_bytes=100)
    client = Client()
    for _ in range(1000):
        halves.hold(client, 60)
        halves.hold(client, 90)
        halves.release(client)
        halves.release(client)
    assert not client.is_given_up

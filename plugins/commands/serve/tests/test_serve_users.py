"""Users of a server: the file as rest-server reads it, guesses, what is remembered, changes while it runs."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.contracts.guesses import FREE_GUESSES, PAUSE_S, TooManyAttempts
from limpet.errors import UsageError
from limpet_command_serve import htpasswd
from limpet_command_serve.htpasswd import decode_htpasswd, hash_password, is_password, with_user
from limpet_command_serve.private_file import replace_private
from limpet_command_serve.users import Users

PASSWORD = "geheim!"
SHA_HASH = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="  # of "password", by htpasswd -s


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(scope="module", autouse=True)
def few_rounds() -> Iterator[None]:
    """Hashes that are made quickly: what they are worth is not tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(htpasswd, "BCRYPT_ROUNDS", 4)
        yield


@pytest.fixture(scope="module")
def stored() -> str:
    """A hash of PASSWORD."""
    return hash_password(PASSWORD.encode())


@pytest.fixture
def clock() -> Clock:
    """A clock for one test."""
    return Clock()


def make_users(path: Path, clock: Clock, told: list[str] | None = None) -> Users:
    """The users in the file."""
    return Users(path, (told if told is not None else []).append, now=clock)


def test_hashes_of_apache_tools_open(stored: str) -> None:
    """Files made by htpasswd for rest-server must go on to work, in all three spellings of bcrypt and in SHA."""
    assert is_password(SHA_HASH, b"password")
    assert not is_password(SHA_HASH, b"Password")
    assert stored.startswith("$2y$")
    for mark in ("$2a$", "$2b$", "$2y$"):
        assert is_password(mark + stored[4:], PASSWORD.encode())
        assert not is_password(mark + stored[4:], b"another")
    assert not is_password("$2y$05$rubbish", b"")


def test_a_long_password_counts_by_its_first_72_bytes(stored: str) -> None:
    """What rest-server lets in must be let in, and the library refuses long passwords with an exception."""
    known = hash_password(b"x" * 72)
    assert is_password(known, b"x" * 72 + b"tail")
    assert not is_password(known, b"x" * 71 + b"ytail")


@pytest.mark.parametrize("password", [b"", b"x" * 73, b"two\nlines", b"zero\0byte"])
def test_passwords_that_bcrypt_would_cut_are_refused(password: bytes) -> None:
    """A password of which only a part counts is weaker than its owner thinks."""
    with pytest.raises(UsageError) as raised:
        hash_password(password)
    assert password.decode() not in str(raised.value) or not password


def test_the_file_is_read_as_rest_server_reads_it(stored: str) -> None:
    """Comments, empty lines, names of all scripts; lines that name nobody are told and let nobody in."""
    names = f"# people\n\n  alice:{SHA_HASH}\r\nbjörk@home:{stored}:more\n"
    text = f"{names}bad name:{SHA_HASH}\nnocolon\neve:plain\nalice:{stored}\n"
    known = decode_htpasswd(text.encode())
    assert dict(known.hashes) == {"alice": stored, "björk@home": stored}
    assert [line.partition(":")[0] for line in known.ignored] == ["line 5", "line 6", "line 7"]
    assert "plain" not in " ".join(known.ignored)
    assert stored not in repr(known)


def test_other_lines_survive_a_change(stored: str) -> None:
    """The file belongs to people who keep comments and other tools' lines in it."""
    before = b"# ours\nalice:{SHA}x\nbob:$apr1$x\nalice:{SHA}y"
    assert with_user(before, "alice", stored) == f"# ours\nbob:$apr1$x\nalice:{stored}\n".encode()
    assert with_user(before, "alice", None) == b"# ours\nbob:$apr1$x\n"
    assert with_user(b"", "alice", None) == b""


def test_right_and_wrong_passwords(tmp_path: Path, stored: str, clock: Clock) -> None:
    """The door itself: the right one opens, wrong ones, empty ones and unknown names do not."""
    path = tmp_path / ".htpasswd"
    path.write_text(f"alice:{stored}\nbob:{SHA_HASH}\n")

    async def try_all() -> list[bool]:
        users = make_users(path, clock)
        try:
            tries = [
                ("alice", PASSWORD),
                ("alice", "x"),
                ("alice", ""),
                ("bob", "password"),
                ("bob", PASSWORD),
                ("eve", ""),
            ]
            return [await users.verify(user, password, "192.0.2.1") for user, password in tries]
        finally:
            users.close()

    assert asyncio.run(try_all()) == [True, False, False, True, False, False]


def test_a_flood_of_requests_costs_one_look(tmp_path: Path, stored: str, clock: Clock) -> None:
    """A client opens many connections at once, each with its password: none may be refused, nor each take 50 ms."""
    path = tmp_path / ".htpasswd"
    path.write_text(f"alice:{stored}\n")

    async def flood() -> list[bool]:
        users = make_users(path, clock)
        try:
            first = await asyncio.gather(*(users.verify("alice", PASSWORD, "192.0.2.1") for _ in range(500)))
            users._threads.shutdown()  # from here on nothing can be looked at
            return [*first, await users.verify("alice", PASSWORD, "192.0.2.1")]
        finally:
            users.close()

    assert asyncio.run(flood()) == [True] * 501


def test_a_remembered_password_is_forgotten(tmp_path: Path, stored: str, clock: Clock) -> None:
    """After a minute without use, or when the file says otherwise, what was right counts no more."""
    path = tmp_path / ".htpasswd"
    path.write_text(f"alice:{stored}\n")

    async def wait() -> tuple[bool, bool, bool]:
        users = make_users(path, clock)
        try:
            first = await users.verify("alice", PASSWORD, "192.0.2.1")
            path.write_text(f"alice:{SHA_HASH}\n")
            changed = await users.verify("alice", PASSWORD, "192.0.2.1")
            path.write_text("")
            assert not await users.verify("alice", "password", "192.0.2.1")
            path.write_text(f"alice:{stored}\n")
            assert await users.verify("alice", PASSWORD, "192.0.2.1")
            clock.now_s += 61
            users._threads.shutdown()
            with pytest.raises(RuntimeError):  # it has to be looked at again, and there is nobody to look
                await users.verify("alice", PASSWORD, "192.0.2.1")
            return first, changed, True
        finally:
            users.close()

    assert asyncio.run(wait()) == (True, False, True)


def test_what_is_remembered_is_no_oracle(tmp_path: Path, stored: str, clock: Clock) -> None:
    """While the true user is at work a guesser elsewhere would learn without any limit which guess is right."""
    path = tmp_path / ".htpasswd"
    path.write_text(f"alice:{stored}\nbob:{SHA_HASH}\n")

    async def attack() -> None:
        users = make_users(path, clock)
        try:
            assert await users.verify("bob", "password", "192.0.2.1")
            for number in range(FREE_GUESSES):
                assert not await users.verify("bob", str(number), "203.0.113.9")
            with pytest.raises(TooManyAttempts):
                await users.verify("bob", "password", "203.0.113.9")
            assert await users.verify("bob", "password", "192.0.2.1")
        finally:
            users.close()

    asyncio.run(attack())


def test_a_guesser_shuts_out_nobody_but_himself(tmp_path: Path, stored: str, clock: Clock) -> None:
    """Brute force ends after a few guesses; the true user, elsewhere or already in, must not notice."""
    path = tmp_path / ".htpasswd"
    path.write_text(f"alice:{stored}\nbob:{SHA_HASH}\n")

    async def attack() -> None:
        users = make_users(path, clock)
        try:
            assert await users.verify("alice", PASSWORD, "2001:db8::1")
            guesses = await asyncio.gather(
                *(users.verify("alice", f"guess{n}", f"2001:db8::{n}") for n in range(2 * FREE_GUESSES)),
                return_exceptions=True,
            )
            refused = [guess for guess in guesses if isinstance(guess, TooManyAttempts)]
            assert len(refused) == FREE_GUESSES
            assert 0 < refused[0].retry_after_s <= PAUSE_S
            assert guesses.count(False) == FREE_GUESSES
            with pytest.raises(TooManyAttempts):
                await users.verify("alice", "one more", "2001:db8::1")
            assert await users.verify("alice", PASSWORD, "2001:db8::1"), "he was in before the guesses"
            assert await users.verify("alice", PASSWORD, "2001:db8:0:1::1"), "he comes from elsewhere"
            assert await users.verify("bob", "password", "2001:db8::1"), "another user behind the same address"
            clock.now_s += PAUSE_S
            assert not await users.verify("alice", "later", "2001:db8::1")
        finally:
            users.close()

    asyncio.run(attack())


def test_a_broken_or_vanished_file_is_told_and_locks_nobody_out(tmp_path: Path, stored: str, clock: Clock) -> None:
    """While an editor replaces the file, backups of the night must go on."""
    path = tmp_path / ".htpasswd"
    path.write_text(f"alice:{stored}\n")
    told: list[str] = []

    async def vanish() -> bool:
        users = make_users(path, clock, told)
        try:
            path.unlink()
            return await users.verify("alice", PASSWORD, "192.0.2.1")
        finally:
            users.close()

    assert asyncio.run(vanish())
    assert len(told) == 1
    assert str(path) in told[0]
    with pytest.raises(UsageError, match="htpasswd"):
        make_users(path, clock)


def test_the_file_is_replaced_privately(tmp_path: Path) -> None:
    """Hashes are for the server alone, and a symbolic link to another disk stays one."""
    target = tmp_path / "real"
    target.write_text("old")
    target.chmod(0o644)
    link = tmp_path / ".htpasswd"
    link.symlink_to(target)
    replace_private(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(os.listdir(tmp_path)) == [".htpasswd", "real"]

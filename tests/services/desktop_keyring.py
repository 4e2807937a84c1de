"""`DesktopKeyring`: GNOME's keyring on a D-Bus of its own, and `PasswordStore`: pass with a key of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.services.process import ServerProcess, program
from tests.services.waiting import wait_for

LOGIN_PASSWORD = b"password of the login"


class DesktopKeyring:
    """A session bus and a keyring that is unlocked, as after a login; runs until `close`."""

    def __init__(self, folder: Path) -> None:
        runtime = folder / "run"
        runtime.mkdir(mode=0o700, parents=True)
        address = f"unix:path={runtime}/bus"
        self.environment = {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(runtime),
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "DBUS_SESSION_BUS_ADDRESS": address,
        }
        """What a program of this desktop has in its environment."""
        bus = ["--session", "--nofork", "--nopidfile", "--print-address", f"--address={address}"]
        self._bus = ServerProcess([program("dbus-daemon"), *bus], folder / "bus.log", self.environment)
        wait_for((runtime / "bus").exists, "the start of the session bus")
        # It reads the password to its end, says on which socket it listens, and goes on in the background by itself.
        subprocess.run(
            [program("gnome-keyring-daemon"), "--components=secrets", "--unlock", "--daemonize"],
            input=LOGIN_PASSWORD,
            env={**os.environ, **self.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )

    def store(self, service: str, entry: str, password: str) -> None:
        """Keep a password, as `keyring set` does."""
        self._tool("store", "--label=test", "service", service, "username", entry, text=password)

    def lock(self) -> None:
        """Lock it, as when the screen is locked; nobody is there to unlock it again."""
        # Not by secret-tool: Debian's crashes at that.
        lock = "import secretstorage as s; s.get_default_collection(s.dbus_init()).lock()"
        environment = {**os.environ, **self.environment}
        subprocess.run([sys.executable, "-c", lock], env=environment, timeout=30, check=True)

    def freeze(self) -> None:
        """Have nothing answered any more, nor refused, until it is closed."""
        os.kill(self._bus.process.pid, signal.SIGSTOP)

    def close(self) -> None:
        """End it: the keyring goes with its bus."""
        os.kill(self._bus.process.pid, signal.SIGCONT)
        self._bus.close()

    def _tool(self, *arguments: str, text: str = "") -> None:
        subprocess.run(
            [program("secret-tool"), *arguments],
            input=text,
            text=True,
            env={**os.environ, **self.environment},
            timeout=30,
            check=True,
        )


class PasswordStore:
    """The password manager pass, with a key without a passphrase; used until `close`."""

    def __init__(self) -> None:
        # Not in a test's own folder: the path of the agent's socket has to be short.
        self._folder = tempfile.TemporaryDirectory(prefix="limpet-pass-")
        folder = Path(self._folder.name)
        self.environment = {"GNUPGHOME": str(folder / "gnupg"), "PASSWORD_STORE_DIR": str(folder / "store")}
        """What a program that asks it has in its environment."""
        (folder / "gnupg").mkdir(mode=0o700)
        gpg = ["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", "test", "default", "default"]
        self._run(*gpg)
        self._run("pass", "init", "test")

    def store(self, entry: str, content: str) -> None:
        """Keep an entry; the first line is the password."""
        self._run("pass", "insert", "--multiline", entry, text=content)

    def close(self) -> None:
        """End its agent, and remove it."""
        self._run("gpgconf", "--kill", "all")
        self._folder.cleanup()

    def _run(self, name: str, *arguments: str, text: str = "") -> None:
        subprocess.run(
            [program(name), *arguments],
            input=text,
            text=True,
            env={**os.environ, **self.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=120,
            check=True,
        )

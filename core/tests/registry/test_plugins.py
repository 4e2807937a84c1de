"""Plugins of strangers: found by name, loaded alone, and broken ones kept apart."""

from __future__ import annotations

import json

import pytest
from limpet.testing.site import Site

OPEN = """
    import sys
    from limpet import registry
    from limpet.errors import LimpetError
    try:
        registry.open_backend(sys.argv[1])
    except LimpetError as error:
        print(type(error).__name__, error)
    """

COMPLETE = """
    from limpet.storage.memory import MemoryBackend
    from limpet.contracts.options import Option

    print("LOADED", __name__)

    class Good(MemoryBackend):
        '''Keeps nothing.'''
        contract_version = 1
        options = (Option("depth", "how deep", type="integer", default=3, environment="GOOD_DEPTH"),)

        @classmethod
        def open(cls, location, options, transport):
            made = cls()
            made.seen = (location, dict(options))
            return made
    """

LEAKY_SOURCE = """
    from limpet.contracts.source import Source

    class Leaky(Source):
        contract_version = 1
        snapshot_paths = ()

        @classmethod
        def open(cls, request):
            raise KeyError(request.targets)

        def targets(self):
            return []

        def close(self):
            pass
    """

BROKEN = {
    "importing": (
        "raise RuntimeError('no cloud today\\nsecond line')",
        "cannot be imported: RuntimeError: no cloud today",
    ),
    "missing_library": ("import a_library_nobody_has", "No module named 'a_library_nobody_has'"),
    "exiting": ("raise SystemExit(5)", "cannot be imported: SystemExit: 5"),
    "nameless": ("x = 1", "has no attribute 'Plugin'"),
    "no_class": ("Plugin = 5", "not a class derived from limpet.contracts.backend.Backend"),
    "stranger": ("class Plugin: contract_version = 1", "not a class derived from"),
    "silent": (
        "from limpet.contracts.backend import Backend\nclass Plugin(Backend): pass",
        "does not state the contract",
    ),
    "old": (
        "from limpet.contracts.backend import Backend\nclass Plugin(Backend): contract_version = 0",
        "built for version 0 of the backend contract, this Limpet has version 1",
    ),
    "half": (
        "from limpet.contracts.backend import Backend\nclass Plugin(Backend): contract_version = 1",
        "it lacks close, create, delete",
    ),
}


@pytest.fixture
def full_site(site: Site) -> Site:
    """One good backend among all kinds of broken ones."""
    site.install("a-good-one", {"limpet.backends": {"good": "good_plugin:Good"}}, {"good_plugin": COMPLETE})
    for name, (source, _) in BROKEN.items():
        site.install(f"broken-{name}", {"limpet.backends": {name: f"broken_{name}:Plugin"}}, {f"broken_{name}": source})
    return site


def test_only_the_one_asked_for_is_imported(full_site: Site) -> None:
    """A cloud SDK takes a second to import: whoever backs up to a disk must not wait for it."""
    done = full_site.run(
        """
        import sys
        from limpet import registry
        backend = registry.open_backend("good:there", {"good.depth": "7"})
        print(backend.inner.seen)
        print([name for name in sys.modules if name.startswith(("broken_", "limpet_backend", "limpet_source"))])
        """
    )
    assert done.stdout.splitlines() == ["LOADED good_plugin", "('there', {'depth': 7})", "[]"], done.stderr


def test_environment_of_an_option(full_site: Site) -> None:
    """Services are configured by their environment."""
    done = full_site.run(
        "from limpet import registry; print(registry.open_backend('good:x').inner.seen)", GOOD_DEPTH="11"
    )
    assert "'depth': 11" in done.stdout, done.stderr


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_one_is_told_by_name(full_site: Site, name: str) -> None:
    """The user has to learn which plugin is broken and how, in one line."""
    done = full_site.run(OPEN, f"{name}:x")
    assert done.stdout.startswith("PluginError ")
    assert f"backend plugin '{name}'" in done.stdout
    assert BROKEN[name][1] in done.stdout
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


def test_broken_ones_do_not_hide_the_others(full_site: Site) -> None:
    """One plugin that fails to import must not take `plugin list` away, where the user would look for it."""
    done = full_site.limpet("plugin", "list", "--json")
    assert done.returncode == 0, done.stderr
    found = {plugin["name"]: plugin for plugin in json.loads(done.stdout.replace("LOADED good_plugin\n", ""))}
    assert found["good"]["error"] is None
    assert found["good"]["distribution"] == "a-good-one"
    assert found["good"]["version"] == "1.2"
    assert found["good"]["summary"] == "Keeps nothing."
    assert found["good"]["options"][0]["environment"] == "GOOD_DEPTH"
    assert found["local"]["error"] is None
    for name, (_, words) in BROKEN.items():
        assert words in found[name]["error"]


def test_plugin_info(full_site: Site) -> None:
    """How to set a plugin's options is asked of the program, not of a web page."""
    good = full_site.limpet("plugin", "info", "good")
    assert good.returncode == 0
    assert "-o good.depth=" in good.stdout
    assert "a-good-one 1.2" in good.stdout
    bad = full_site.limpet("plugin", "info", "old")
    assert bad.returncode == 1
    assert BROKEN["old"][1] in bad.stdout
    unknown = full_site.limpet("plugin", "info", "nobody")
    assert unknown.returncode == 1
    assert "no plugin is called 'nobody'" in unknown.stderr


def test_two_of_one_name(site: Site) -> None:
    """Which of two plugins gets the data must not depend on the order of folders."""
    for number in ("one", "two"):
        module = f"twin_{number}"
        site.install(f"twin-{number}", {"limpet.backends": {"twin": f"{module}:Good"}}, {module: COMPLETE})
    done = site.run(OPEN, "twin:x")
    assert "PluginError two backend plugins are called 'twin': twin_one:Good and twin_two:Good" in done.stdout
    assert "LOADED" not in done.stdout
    listed = json.loads(site.limpet("plugin", "list", "--json").stdout)
    twins = [plugin for plugin in listed if plugin["name"] == "twin"]
    assert len(twins) == 2
    assert all("also taken by" in plugin["error"] for plugin in twins)


def test_unknown_scheme_names_what_to_install(site: Site) -> None:
    """Most backends are extras: the way out is one command away."""
    done = site.limpet("-r", "s3x:bucket", "snapshots", LIMPET_PASSWORD="x")
    assert done.returncode == 1
    assert "pip install limpet-backend-s3x" in done.stderr


def test_option_of_no_plugin(site: Site) -> None:
    """`-o lokal.connections=9` must not pass as if it had been set."""
    done = site.limpet("-r", "x", "-o", "lokal.connections=9", "snapshots", LIMPET_PASSWORD="x")
    assert done.returncode == 1
    assert "no plugin is called 'lokal'" in done.stderr


def test_options_of_restics_backends_that_are_not_installed(site: Site) -> None:
    """Scripts for restic set `-o s3.connections` and `-o rest.connections` alike; neither was ever an error."""
    assert site.limpet("-o", "s3.connections=9,rest.connections=9", "-o", "rclone.program=x", "version").returncode == 0


def test_an_error_while_opening_hides_the_secret(site: Site) -> None:
    """A plugin that breaks in its own code still has the user's password in its hands."""
    source = COMPLETE.replace("made = cls()", "raise KeyError(location)")
    site.install("leaky", {"limpet.backends": {"leaky": "leaky:Good"}}, {"leaky": source})
    done = site.run(OPEN, "leaky:https://u:s3cret@host/")
    assert "PluginError the backend plugin 'leaky' could not open leaky:https://u:***@host/: KeyError" in done.stdout
    assert "s3cret" not in done.stdout + done.stderr


def test_an_error_while_opening_several_hides_their_secrets(site: Site) -> None:
    """The same, of a source that is given two servers."""
    site.install("leaky", {"limpet.sources": {"leaky": "leaky:Leaky"}}, {"leaky": LEAKY_SOURCE})
    done = site.run(
        """
        from limpet import registry
        from limpet.contracts.source import SourceRequest
        try:
            registry.open_source("leaky", SourceRequest(["//u:s3cret@one/a", "//u:s3cret@two/b"]))
        except Exception as error:
            print(type(error).__name__, error)
        """
    )
    assert "PluginError the source plugin 'leaky' could not open leaky://u:***@one/a //u:***@two/b" in done.stdout
    assert "s3cret" not in done.stdout + done.stderr


def test_version_imports_no_plugin_machinery(full_site: Site) -> None:
    """`limpet version` runs in scripts and prompts: it may not pay for what it does not use."""
    done = full_site.run(
        """
        import sys
        from limpet.cli.main import main
        assert main(["version"]) == 0
        print([name for name in ("stevedore", "pluggy", "good_plugin", "cryptography") if name in sys.modules])
        """
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_command_of_a_stranger(site: Site) -> None:
    """A command from outside runs, is listed, and gets the session as ours do."""
    source = """
        import click
        from limpet.contracts.command import Command
        from limpet.cli.session import pass_session

        @click.command("greet")
        @click.argument("name")
        @pass_session
        def greet(session, name):
            "Say hello."
            session.print(f"hello {name}, {session.json}")

        class Greet(Command):
            contract_version = 1

            @classmethod
            def click_command(cls):
                return greet
        """
    site.install("greeter", {"limpet.commands": {"greet": "greeter:Greet"}}, {"greeter": source})
    done = site.limpet("greet", "you", "--json")
    assert done.stdout == "hello you, True\n", done.stderr
    assert "greet" in site.limpet("help").stdout


def test_broken_command(site: Site) -> None:
    """A command that cannot be loaded is told by name; the others work."""
    site.install("greeter", {"limpet.commands": {"greet": "greeter:Greet"}}, {"greeter": "import nothing_there"})
    done = site.limpet("greet")
    assert done.returncode == 1
    assert "command plugin 'greet' cannot be imported" in done.stderr
    assert site.limpet("version").returncode == 0
    assert site.limpet("help").returncode == 0

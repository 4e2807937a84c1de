"""`limpet.toml` read: which file, lines of keys, variables, inheritance, and mistakes that name their place."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet.cli.configuration.document import ConfigurationError, Place, Setting, Table, parse_document
from limpet.cli.configuration.expansion import expand
from limpet.cli.configuration.files import find_configuration
from limpet.cli.configuration.lines import KeyPath, statements
from limpet.cli.configuration.plan import plan
from limpet.cli.configuration.profiles import Profile
from limpet.cli.configuration.resolving import Resolver
from limpet.errors import UsageError

FILE = Path("/etc/limpet/limpet.toml")
PLACE = Place(FILE, 7, "profiles.home.sources")
WHOLE = """
[profiles.home]
repositories = ["/srv/backup"]
sources = ["/home"]
"""


def resolved(text: str, name: str = "home") -> Profile:
    """The profile of that name of a configuration with this text."""
    return Resolver(parse_document(textwrap.dedent(text), FILE), FILE.parent).profile(name)


def command_lines(text: str, name: str = "home") -> list[str]:
    """The command lines of the profile as they are shown."""
    return [planned.shown for planned in plan(resolved(text, name))]


def mistake_of(text: str, name: str = "home") -> str:
    """The message about the first mistake in the text."""
    with pytest.raises(ConfigurationError) as caught:
        plan(resolved(text, name))
    return str(caught.value)


# -- lines -----------------------------------------------------------------------------------------------------------

VALUES = st.sampled_from(
    [
        "1",
        "true",
        "'x = 1'",
        '"# no comment"  # a comment',
        '"""\nfirst = 1\n[second]\n"""',
        "'''\n]\n'''",
        "[\n  1,\n  # ]\n  2,\n]",
        "[ 'a',\n\n 'b' ]  # end",
        "{ a = 1, b = { c = 2 } }",
        "[]",
    ]
)
BETWEEN = st.sampled_from(["", "\n", "# comment = 1\n", "\n\n# [x]\n"])


@given(st.lists(st.tuples(BETWEEN, st.booleans(), VALUES), max_size=12))
@settings(max_examples=150, deadline=None)
def test_every_key_has_its_line(parts: Sequence[tuple[str, bool, str]]) -> None:
    """A mistake told at the wrong line sends people to lines that are right."""
    text = ""
    table: KeyPath = ()
    expected: dict[KeyPath, int] = {}
    for number, (between, begins_table, value) in enumerate(parts):
        text += between
        if begins_table:
            table = (f"t{number}", "inner")
            expected[table] = text.count("\n") + 1
            text += f"[t{number}.inner]\n"
        expected[(*table, f"k{number}")] = text.count("\n") + 1
        text += f"k{number} = {value}\n"
    found = statements(text)
    assert {path: found[path].first for path in expected} == expected


def test_items_of_a_list_have_lines_of_their_own() -> None:
    """In a list of fifty sources the line of the list is of no help."""
    document = parse_document('[a]\nx = [\n  "one", "two",\n  # none\n  "three",\n]\ny = ["four"]', FILE)
    table = document.entries["a"]
    assert isinstance(table, Table)
    x, y = table.entries["x"], table.entries["y"]
    assert isinstance(x, Setting)
    assert isinstance(y, Setting)
    assert [(item.value, item.place.line) for item in x.items] == [("one", 3), ("two", 3), ("three", 5)]
    assert [(item.value, item.place.line) for item in y.items] == [("four", 7)]


def test_windows_line_ends_count_once() -> None:
    """A file that was edited elsewhere would have all its lines told wrongly."""
    assert "line 3: profiles.home.sorces" in mistake_of('[profiles.home]\r\nsources = []\r\nsorces = ["/"]\r\n')


# -- which file ------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without any configuration, and a working folder that has one."""
    home = tmp_path / "home"
    (home / ".config" / "limpet").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "limpet.toml").write_text(WHOLE)
    return home


def test_files_in_their_order(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run would take the wrong profile, or that of a folder somebody else made."""
    own, variable, flag = home / ".config" / "limpet" / "limpet.toml", tmp_path / "a.toml", tmp_path / "b.toml"
    with pytest.raises(UsageError, match="there is no configuration"):
        find_configuration(None)
    for file in (own, variable, flag):
        file.write_text(WHOLE)
    assert find_configuration(None) == own
    monkeypatch.setenv("LIMPET_CONFIG", str(variable))
    assert find_configuration(None) == variable
    assert find_configuration("b.toml") == flag
    with pytest.raises(UsageError, match=r"none\.toml: No such file"):
        find_configuration("none.toml")


def test_a_file_that_anybody_may_write_is_refused(home: Path) -> None:
    """Any user of the machine could have commands run as us."""
    own = home / ".config" / "limpet" / "limpet.toml"
    own.write_text(WHOLE)
    own.chmod(0o666)
    for named in (None, str(own)):
        with pytest.raises(UsageError, match="chmod o-w"):
            find_configuration(named)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_not_found_by_itself(home: Path) -> None:
    """`sudo limpet run` with the user's HOME would run what the user wrote as root."""
    own = home / ".config" / "limpet" / "limpet.toml"
    own.write_text(WHOLE)
    os.chown(own, 65534, 65534)
    with pytest.raises(UsageError, match="belongs to another user"):
        find_configuration(None)
    assert find_configuration(str(own)) == own


# -- variables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("/srv/${NAME}/x", "/srv/web/x"),
        ("${NAME}${NAME}", "webweb"),
        ("${NONE:-fallback}", "fallback"),
        ("${NONE:-}", ""),
        ("${EMPTY:-fallback}", "fallback"),
        ("${EMPTY}", ""),
        ("${NAME:-fallback}", "web"),
        ("$${NAME}", "${NAME}"),
        ("5$ $NAME", "5$ $NAME"),
        ("~/x", "/home/u/x"),
        ("~", "/home/u"),
        ("a~/x", "a~/x"),
        ("~user", "~user"),
    ],
)
def test_variables_and_homes(text: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that means another one is a backup of the wrong thing."""
    monkeypatch.setenv("HOME", "/home/u")
    assert expand(text, PLACE, {"NAME": "web", "EMPTY": ""}).value == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${NONE}", "the environment has no variable NONE"),
        ("${", "not of the form"),
        ("${NAME", "not of the form"),
        ("${NA ME}", "not of the form"),
        ("${NAME-x}", "not of the form"),
    ],
)
def test_variables_that_cannot_be(text: str, said: str) -> None:
    """An empty text in place of a missing variable makes `/srv/` of `/srv/${DISK}`."""
    with pytest.raises(ConfigurationError, match=said) as caught:
        expand(text, PLACE, {"NAME": "web"})
    assert str(caught.value).startswith(f"{FILE}, line 7: profiles.home.sources: ")


# -- inheritance -----------------------------------------------------------------------------------------------------


def test_inheritance_over_several_levels() -> None:
    """Half of a profile would be missing, or an old value would win over a new one."""
    lines = command_lines(
        """
        [profiles.base]
        excludes = ["*.o"]
        retention = { keep-daily = 7, keep-weekly = 4 }
        flags = { quiet = true }

        [profiles.server]
        inherits = "base"
        repositories = ["/srv/one"]
        sources = ["/etc"]
        extend-excludes = ["*.tmp"]
        retention.keep-weekly = 8

        [profiles.home]
        inherits = "server"
        extend-sources = ["/var/www"]
        extend-repositories = ["/srv/two"]
        excludes = ["*.bak"]
        retention.host = "web"
        """
    )
    assert lines == [
        f"limpet backup -r /srv/{one} --quiet '--exclude=*.bak' --tag=home -- /etc /var/www" for one in ("one", "two")
    ] + [f"limpet forget -r /srv/{one} --quiet --keep-daily=7 --keep-weekly=8 --host=web" for one in ("one", "two")]


def test_items_of_joined_lists_keep_their_places() -> None:
    """The mistake would be looked for in the profile that inherits it."""
    text = """
    [profiles.base]
    sources = ["${GONE}"]
    [profiles.home]
    inherits = "base"
    repositories = ["/srv/backup"]
    extend-sources = ["/etc"]
    """
    assert ", line 3: profiles.base.sources: the environment has no variable GONE" in mistake_of(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[profiles.home]\ninherits = "bsae"\n[profiles.base]', "line 2: profiles.home.inherits: 'bsae' is no profile; "
         "did you mean 'base'?"),
        ('[profiles.home]\ninherits = "home"', "line 2: profiles.home.inherits: profiles inherit from each other in a "
         "ring: home -> home"),
        ('[profiles.home]\ninherits = "a"\n[profiles.a]\ninherits = "b"\n[profiles.b]\ninherits = "a"',
         "line 6: profiles.b.inherits: profiles inherit from each other in a ring: a -> b -> a"),
        ('[profiles.home]\ninherits = ["a"]', "line 2: profiles.home.inherits: should be the name of one profile"),
    ],
)  # fmt: skip
def test_inheritance_that_cannot_be(text: str, said: str) -> None:
    """A ring would never end."""
    assert mistake_of(text).startswith(f"{FILE}, {said}")


# -- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ("sorces = []", "profiles.home.sorces: 'sorces' is no key here; did you mean 'sources'?"),
        ("retention.keep-dayly = 7", "profiles.home.retention.keep-dayly: 'keep-dayly' is no flag here; did you mean "
         "'keep-daily'?"),
        ("retention.keep_daily = -1", "profiles.home.retention.keep_daily: negative values not allowed"),
        ("retention.keep-within = 'soon'", "profiles.home.retention.keep-within: "),
        ("retention.prune = true", "profiles.home.retention: says not what to keep"),
        ("retention = 7", "profiles.home.retention: should be a table"),
        ("backup.exclude-caches = 'yes'", "profiles.home.backup.exclude-caches: 'yes' is neither true nor false"),
        ("backup.exclude-larger-than = '5 apples'", "profiles.home.backup.exclude-larger-than: invalid size"),
        ("backup.host = ['a', 'b']", "profiles.home.backup.host: takes one value, not a list"),
        ("backup.host = true", "profiles.home.backup.host: true is no value for --host"),
        ("backup.exclude = ['x']", "profiles.home.backup.exclude: it belongs into the profile's list `excludes`"),
        ("backup.dry-run = true", "profiles.home.backup.dry-run: ask for it when you run the profile"),
        ("backup.option = 'a.b=c'", "profiles.home.backup.option: it belongs into the profile's table `options`"),
        ("check.read-data-subset = '1/x'", "profiles.home.check.read-data-subset: check flag --read-data-subset"),
        ("flags.keep-daily = 1", "profiles.home.flags.keep-daily: 'keep-daily' is no flag here"),
        ("flags.verbose = -1", "profiles.home.flags.verbose: -1 is neither true nor false"),
        ("flags.compression = 'best'", "profiles.home.flags.compression: 'best' is not one of"),
        ("hooks = ['shell']", "profiles.home.hooks: should be a table"),
        ("hooks.backups = ['shell']", "'backups' is no key here; did you mean 'backup'?"),
        ("hooks.run = ['shel']", "profiles.home.hooks.run: 'shel' is no installed hook; did you mean 'shell'?"),
        ("options.shell.befor = 'x'", "'befor' is no option of shell; did you mean 'before'?"),
        ("options.shel.before = 'x'", "'shel' is no installed plugin; did you mean 'shell'?"),
        ("options.local.connections = 'many'", "profiles.home.options.local.connections: 'many' is no integer"),
        ("options.'local.connections' = [1]", "takes one value, not a list"),
        ("options.connections = 1", "an option has its plugin's name in front"),
        ("options.shell.before = 'x'", "the hook shell takes part nowhere: name it in `hooks`"),
        ("hooks.run = ['shell']\noptions.shell.timeout = 'soon'", "options.shell.timeout: 'soon' is no duration"),
        ("description = 5", "profiles.home.description: 5 is no text; text goes in quotes"),
        ("description = 2026-11-22", "profiles.home.description: a date or time makes no sense here"),
        ("schedule.at = ''\nschedule.on = 1", "'on' is no key here"),
        ("schedule = { nice = 5 }", "profiles.home.schedule: has no `at"),
        ("schedule = { at = 'daily', nice = 20 }", "profiles.home.schedule.nice: 20 is no number from -20 to 19"),
        ("schedule = { at = 'daily', io-class = 'idel' }", "'idel' is no I/O class; did you mean 'idle'?"),
        ("keep-daily = 1\nkeep_daily = 2", "profiles.home.keep_daily: given twice, as line 5 says the same key"),
        ("extend-tags = []", "'extend-tags' is no key here"),
    ],
)  # fmt: skip
def test_a_mistake_names_file_line_and_key(added: str, said: str) -> None:
    """Somebody would have to search the file, and guess what the right word is."""
    lines = WHOLE.count("\n") + 1
    message = mistake_of(f"{WHOLE}{added}\n")
    assert said in message
    number = int(message.removeprefix(f"{FILE}, line ").partition(":")[0])
    assert lines <= number <= lines + added.count("\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[profiles.home\n", "line 1: this is no TOML"),
        ("[profiles.home]\nx = 1\nx = 2\n", "line 3: this is no TOML: Cannot overwrite a value"),
        ("[profiles.home]\nx = ", "this is no TOML"),
        ("[profile.home]\n", "line 1: profile: 'profile' is no key here; did you mean 'profiles'?"),
        ("profiles = 1\n", "line 1: profiles: should be a table"),
        ("[profiles]\nhome = 1\n", "line 2: profiles.home: should be a table: `[profiles.home]`"),
        ('[profiles."a/b"]\n', "line 1: profiles.a/b: a name has letters, digits, - and _ only"),
        ("[profiles.home]\nsources = ['/']\n", "line 1: profiles.home: has no `repositories`"),
        ("[profiles.home]\nrepositories = ['/srv']\n", "line 1: profiles.home: has neither `sources` nor"),
        ("[profiles.home]\nrepositories = ['/srv']\nbackup = {}\n", "line 3: profiles.home.backup: there are no"),
        ("[profiles.home]\nrepositories = [\n'dsik']\n[repositories.disk]\nlocation = '/'\n",
         "line 3: profiles.home.repositories: 'dsik' is no repository; did you mean 'disk'?"),
        ("[profiles.home]\nrepositories = ['sfpt:u@h:/x']\n", "line 2: profiles.home.repositories: no backend"),
        ("[profiles.home]\nrepositories = ['/a', '/a']\n", "line 2: profiles.home.repositories: '/a' is named twice"),
        ("[profiles.home]\nrepositories = ['a']\n[repositories.a]\nlocaton = '/'\n",
         "line 4: repositories.a.locaton: 'locaton' is no key here; did you mean 'location'?"),
        ("[profiles.home]\nrepositories = ['a']\n[repositories.a]\n", "line 3: repositories.a: has no `location"),
    ],
)  # fmt: skip
def test_mistakes_of_structure(text: str, said: str) -> None:
    """As above, for what is wrong with the file as a whole."""
    with pytest.raises(ConfigurationError) as caught:
        plan(resolved(text))
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{FILE}, line ")


# -- what a profile comes to -----------------------------------------------------------------------------------------


def test_values_become_flags() -> None:
    """A flag that is lost on the way is a backup that is not what was asked for."""
    backup, forget, prune, check = command_lines(
        """
        [repositories.nas]
        location = "/srv/nas"
        password_command = "pass show nas"
        limit_upload = 200
        compression = "max"
        cacert = ["a.pem", "b.pem"]
        options.local.connections = 3

        [profiles.home]
        repositories = ["nas"]
        sources = ["-x", "/etc"]
        tag = "nightly"
        flags = { verbose = 2, retry-lock = "5m", limit-upload = 100 }
        options.local.connections = 2
        [profiles.home.backup]
        exclude_caches = true
        one-file-system = false
        limit-upload = 300
        tag = ["a", "b,c"]
        [profiles.home.retention]
        keep-tag = ["x"]
        keep-within-daily = "7d"
        tag = "nightly"
        [profiles.home.prune]
        max-unused = "10%"
        [profiles.home.check]
        """
    )
    common = "-r /srv/nas '--password-command=pass show nas' --verbose --verbose --retry-lock=5m --limit-upload={} "
    common += "--compression=max --cacert=a.pem --cacert=b.pem"
    connections = "-o local.connections=3"
    assert backup == (
        f"limpet backup {common.format(300)} --exclude-caches --tag=a --tag=b,c --tag=nightly {connections} -- -x /etc"
    )
    rest = common.format(200)
    assert forget == f"limpet forget {rest} --keep-tag=x --keep-within-daily=7d --tag=nightly {connections}"
    assert prune == f"limpet prune {rest} --max-unused=10% {connections}"
    assert check == f"limpet check {rest} {connections}"


def test_retention_is_about_the_profiles_own_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile would remove the snapshots of another one, or of another machine, in a repository they share."""
    monkeypatch.setenv("LIMPET_HOST", "web")
    forget = "\nretention.keep-last = 1\n"
    assert command_lines(WHOLE + forget)[1].endswith(" --keep-last=1 --host=web --tag=home")
    assert command_lines(WHOLE + forget + "backup.host = 'db'")[1].endswith(" --keep-last=1 --host=db --tag=home")
    assert command_lines(WHOLE + forget + "tag = ''")[1].endswith(" --keep-last=1 --host=web")
    assert command_lines(WHOLE + forget + "retention.path = '/home'")[1].endswith(" --keep-last=1 --path=/home")


def test_hooks_and_options_go_where_they_take_part() -> None:
    """A monitor would be told of every command, and an option alone would turn a hook on."""
    backup, forget = command_lines(
        WHOLE
        + """
        retention.keep-last = 1
        hooks.backup = ["shell"]
        options.shell.before = "true"
        options.local.connections = 2
        """
    )
    assert "--hook=shell" in backup
    assert "shell.before=true" in backup
    assert "shell" not in forget
    assert "local.connections=2" in forget
    run_only = command_lines(WHOLE + 'hooks.run = ["shell"]\noptions.shell.before = "true"')
    assert not any("shell" in line for line in run_only)

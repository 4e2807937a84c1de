"""`limpet schedule`: expressions that mean the same to systemd and cron, and nothing left behind.

That a timer starts a run is seen in tests/scheduling, by a systemd and a cron of the test's own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet.cli.configuration.document import Place
from limpet.cli.configuration.loading import load_configuration
from limpet.cli.scheduling.job import Job, Scope
from limpet.cli.scheduling.systemd import quoted, service_text
from limpet.cli.scheduling.times import WORDS, When, calendar_times, next_cron_runs, when_of

if TYPE_CHECKING:
    from .conftest import Run

PLACE = Place(Path("limpet.toml"), 1, "at")
with_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and not os.environ.get("LIMPET_REQUIRE_SERVICES"),
    reason="there is no systemd-analyze here",
)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A profile with a schedule, and folders of our own for units and state."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state 100%"))
    file = tmp_path / 'strange "$name" 50%' / "limpet.toml"
    file.parent.mkdir()
    file.write_text(
        """\
[profiles.home]
repositories = ["/srv/backup"]
sources = ["/etc"]
[profiles.home.schedule]
at = ["30 2 * * 1-5", "weekly"]
"""
    )
    monkeypatch.setenv("LIMPET_CONFIG", str(file))
    return file


def units(tmp_path: Path) -> dict[str, str]:
    """Everything below the folder of units, by its path there."""
    folder = tmp_path / "config" / "systemd" / "user"
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


# -- times -----------------------------------------------------------------------------------------------------------


def _list_of(low: int, high: int) -> st.SearchStrategy[str]:
    numbers = st.integers(low, high)
    ranges = st.tuples(numbers, numbers).map(lambda pair: f"{min(pair)}-{max(pair)}")
    stepped = st.tuples(st.one_of(ranges, st.just("*")), st.integers(1, high)).map(lambda two: f"{two[0]}/{two[1]}")
    part = st.one_of(numbers.map(str), ranges, stepped)
    return st.one_of(st.just("*"), st.lists(part, min_size=1, max_size=3).map(",".join))


FIELDS = st.tuples(_list_of(0, 59), _list_of(0, 23), _list_of(1, 28), _list_of(1, 12), _list_of(0, 7)).map(" ".join)


@with_systemd
@given(FIELDS)
@settings(max_examples=25, deadline=None)
def test_cron_and_systemd_agree(text: str) -> None:
    """The same line would run at other times on a machine with systemd than on one without."""
    expected = [f"{time:%Y-%m-%d %H:%M}" for time in next_cron_runs(text, datetime.now(), 4)]
    found = {
        " ".join(time.split()[1:3])[:16]
        for calendar in When(text, PLACE).calendar
        for time in calendar_times(calendar, 4)
    }
    # A minute may pass between the two questions.
    assert sorted(found)[:3] == expected[:3] or sorted(found)[:2] == expected[1:3]


@with_systemd
@pytest.mark.parametrize("word", sorted(WORDS))
def test_words_mean_the_same(word: str) -> None:
    """`weekly` is Monday for systemd and would be Sunday for cron."""
    assert calendar_times(word, 3) == calendar_times(When(WORDS[word], PLACE).calendar[0], 3)


def test_next_runs_are_in_the_future() -> None:
    """A date that is over tells that nothing will happen."""
    now = datetime.now()
    (first, *_) = next_cron_runs("*/5 * * * *", now)
    assert now < first <= now + timedelta(minutes=5)


# -- systemd ---------------------------------------------------------------------------------------------------------


@with_systemd
def test_units_are_written_listed_and_taken_away(run: Run, config: Path, tmp_path: Path) -> None:
    """What `remove` forgets runs on for years, and what it takes away too much belonged to somebody."""
    folder = tmp_path / "config" / "systemd" / "user"
    folder.mkdir(parents=True)
    (folder / "limpet-other.timer").write_text("[Timer]\nOnCalendar=daily\n")
    before = units(tmp_path)
    ended = run("schedule", "install", "home", "--user", "--no-start")
    assert (ended.exit_code, ended.err) == (0, "")
    assert "next runs (30 2 * * 1-5): " in ended.out
    found = units(tmp_path)
    assert set(found) == {
        "limpet-home.service", "limpet-home.timer", "timers.target.wants/limpet-home.timer", "limpet-other.timer",
    }  # fmt: skip
    assert (
        "OnCalendar=Mon,Tue,Wed,Thu,Fri *-*-* 2:30:00\nOnCalendar=weekly\nPersistent=true\n"
        in found["limpet-home.timer"]
    )
    (listed,) = run("schedule", "list", "--json").document
    assert (listed["profile"], listed["by"], listed["configuration"]) == ("home", "systemd (user)", str(config))
    assert len(listed["next_runs"]) == 3
    assert run("schedule", "list").out.splitlines()[2].startswith("home     systemd (user)  ")
    assert run("schedule", "install", "home", "--user", "--no-start").exit_code == 0
    assert run("schedule", "remove", "home", "--user").exit_code == 0
    assert units(tmp_path) == before
    ended = run("schedule", "remove", "home", "--user")
    assert (ended.exit_code, ended.out) == (1, "")
    assert "no schedule of 'home' is installed here" in ended.err


@with_systemd
@pytest.mark.parametrize("scope", ["--user", "--system"])
def test_systemd_takes_the_units(run: Run, config: Path, tmp_path: Path, scope: str) -> None:
    """A line that systemd does not know is passed over in silence: no timer, or no sandbox."""
    with config.open("a") as file:
        file.write('randomized-delay = "15min"\nenvironment-file = "my env"\nservice = { CPUQuota = "50%" }\n')
    ended = run("schedule", "install", "home", "--user", "--no-start")
    assert (ended.exit_code, ended.err) == (0, "")
    if scope == "--system":
        schedule = load_configuration(None).profile("home").schedule
        assert schedule is not None
        text = service_text(Job("home", config, when_of(schedule), schedule), Scope.SYSTEM)
        assert "ProtectSystem=yes" in text
        (tmp_path / "config" / "systemd" / "user" / "limpet-home.service").write_text(text)
    files = [tmp_path / "config" / "systemd" / "user" / f"limpet-home.{kind}" for kind in ("service", "timer")]
    judged = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, check=False
    )
    assert [line for line in judged.stderr.splitlines() if "limpet-" in line] == []
    service = units(tmp_path)["limpet-home.service"]
    assert f"EnvironmentFile={config.parent}/my env".replace("%", "%%") in service
    assert service.index("CPUQuota=50%") > service.index("NoNewPrivileges=yes")


@with_systemd
def test_what_systemd_would_not_take_is_not_written(run: Run, config: Path, tmp_path: Path) -> None:
    """A service that is refused is noticed when the backup is needed."""
    with config.open("a") as file:
        file.write('service = { Type = "onceshot", Nonsense = 1 }\n')
    ended = run("schedule", "install", "home", "--user", "--no-start")
    assert ended.exit_code == 1
    assert "systemd would not take the units: limpet-home.service:" in ended.err
    assert units(tmp_path) == {}


def test_units_of_others_are_left_alone(run: Run, config: Path, tmp_path: Path) -> None:
    """A unit that somebody wrote by hand under this name would be lost."""
    folder = tmp_path / "config" / "systemd" / "user"
    folder.mkdir(parents=True)
    timer = folder / "limpet-home.timer"
    for text in ("[Timer]\n", f"# limpet schedule: profile home of {tmp_path}/other.toml\n[Timer]\n"):
        timer.write_text(text)
        ended = run("schedule", "install", "home", "--user", "--no-start")
        assert ended.exit_code == 1
        assert str(timer) in ended.err
        assert timer.read_text() == text
    timer.write_text("[Timer]\n")
    assert run("schedule", "remove", "home", "--user").exit_code == 1
    assert timer.exists()


@pytest.mark.parametrize("word", ["plain", "two words", 'a "quote"', "50%", "$HOME", "back\\slash", "", "it's", "a;b"])
@with_systemd
def test_words_reach_the_program_unchanged(word: str, tmp_path: Path) -> None:
    """A configuration in `Backup 50%` would not be found."""
    unit = tmp_path / "limpet-words.service"
    unit.write_text(f"[Service]\nType=oneshot\nExecStart=/bin/echo {quoted(word)}\n")
    judged = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert "limpet-words" not in judged.stderr


@pytest.mark.parametrize(
    ("schedule", "flag", "said"),
    [
        ("", "--cron", "profiles.home: has no table `schedule`"),
        ('schedule.at = "Mon..Fri 02:30"', "--cron", "is a time of systemd's; for cron write its five fields"),
        ('schedule.at = "61 * * * *"', "--no-start", "is no time of cron's"),
    ],
)
def test_schedules_that_cannot_be(run: Run, config: Path, schedule: str, flag: str, said: str) -> None:
    """A profile that is thought to run and never does."""
    config.write_text(config.read_text().partition("[profiles.home.schedule]")[0] + schedule + "\n")
    ended = run("schedule", "install", "home", "--user", flag)
    assert ended.exit_code == 1
    assert said in ended.err


# -- cron ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def crontab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `crontab` that keeps its table in a file of the test's; the real one is met in tests/scheduling."""
    table = tmp_path / "table"
    program = tmp_path / "bin" / "crontab"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        f'case $1 in -l) cat "{table}" 2> /dev/null || {{ echo no crontab for me >&2; exit 1; }} ;;\n'
        f'-r) rm "{table}" ;; -) cat > "{table}" ;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return table


@pytest.mark.parametrize("before", [None, "# mine\n5 4 * * * true\n", "5 4 * * * true"])
def test_lines_of_a_crontab_come_and_go(run: Run, config: Path, crontab: Path, before: str | None) -> None:
    """Somebody's own lines would be lost, or ours stay for ever."""
    if before is not None:
        crontab.write_text(before)
    for _ in range(2):
        ended = run("schedule", "install", "home", "--user", "--cron")
        assert (ended.exit_code, ended.err) == (0, "")
    added = crontab.read_text().removeprefix(before or "").strip().splitlines()
    assert len(added) == 4
    assert added[1].startswith("30 2 * * 1-5 PATH=")
    assert added[2].startswith("0 0 * * 1 PATH=")
    (listed,) = [one for one in run("schedule", "list", "--json").document if one["configuration"] == str(config)]
    assert (listed["by"], listed["at"]) == ("cron (user)", ["30 2 * * 1-5", "0 0 * * 1"])
    assert run("schedule", "remove", "home", "--user").exit_code == 0
    if before is None:
        assert not crontab.exists()
    else:
        assert crontab.read_text().rstrip("\n") == before.rstrip("\n")


@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="systemd runs here, and would be asked")
def test_without_systemd_cron_does_it(run: Run, config: Path, crontab: Path, tmp_path: Path) -> None:
    """Units that nobody reads would look like a schedule."""
    ended = run("schedule", "install", "home", "--user")
    assert (ended.exit_code, ended.err) == (0, "")
    assert ended.out.startswith("systemd does not run here: cron is used\nwrote to your crontab:\n30 2 * * 1-5 ")
    assert units(tmp_path) == {}
    assert "limpet schedule: profile home" in crontab.read_text()


def test_with_neither_the_way_out_is_told(run: Run, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`No such file or directory` would be all that is said."""
    monkeypatch.setenv("PATH", "/none")
    ended = run("schedule", "install", "home", "--user", "--cron")
    assert ended.exit_code == 1
    assert ended.err.startswith("Fatal: there is no program crontab: install cron (or have --no-start write units")


def test_a_cron_line_runs_the_profile(run: Run, config: Path, crontab: Path, tmp_path: Path) -> None:
    """Cron's `%`, the shell's quotes and the program's own reading have to come out at the same words."""
    (config.parent / "env").write_text("PLACE=/none\n")
    text = config.read_text().replace("/srv/backup", "${PLACE}")
    config.write_text(text + 'environment-file = "env"\nnice = 0\nio-class = "none"\n')
    os.environ["PLACE"] = "/none"
    try:
        assert run("schedule", "install", "home", "--user", "--cron").exit_code == 0
    finally:
        del os.environ["PLACE"]
    line = next(line for line in crontab.read_text().splitlines() if line.startswith("30 2"))
    # What cron does with a line: five fields off, `\\%` is a `%`, the rest to a shell with next to no environment.
    command = line.split(maxsplit=5)[5].replace("\\%", "%")
    done = subprocess.run(
        ["/bin/sh", "-c", command], env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("[1/1] backup: /none\n"), done.stderr
    assert (tmp_path / "state 100%" / "limpet" / "running").is_dir()

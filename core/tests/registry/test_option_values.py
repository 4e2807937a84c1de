"""Options of plugins: texts become typed values, mistakes are named, secrets are not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet.contracts.options import Option, OptionType, OptionValue
from limpet.errors import UsageError
from limpet.registry.option_values import option_values, parse_assignments, parse_value

DECLARED = (
    Option("region", "where", environment="THING_REGION", default="eu"),
    Option("connections", "how many", type="integer", default=5),
    Option("key", "secret", secret=True, environment="THING_KEY", type="integer"),
)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("string", "a = b", "a = b"),
        ("integer", "17", 17),
        ("integer", "0x10", 16),
        ("boolean", "TRUE", True),
        ("boolean", "0", False),
        ("boolean", "on", True),
        ("number", "0.5", 0.5),
        ("duration", "5m", 300.0),
        ("duration", "1h30m", 5400.0),
        ("duration", "1.5s", 1.5),
        ("duration", "250ms", 0.25),
        ("duration", "90", 90.0),
        ("duration", "2d", 172800.0),
        ("size", "10M", 10 << 20),
        ("size", "10 MiB", 10 << 20),
        ("size", "512k", 512 << 10),
        ("size", "7", 7),
        ("size", "7b", 7),
        ("size", "1T", 1 << 40),
    ],
)
def test_values(kind: OptionType, text: str, value: OptionValue) -> None:
    """A plugin gets what it declared, or every plugin parses texts in its own way."""
    got = parse_value(Option("x", "help", type=kind), text, "option p.x")
    assert (got, type(got)) == (value, type(value))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("integer", "5.0"),
        ("integer", ""),
        ("boolean", "maybe"),
        ("number", "nan"),
        ("number", "inf"),
        ("duration", "5 parsecs"),
        ("duration", "m5"),
        ("duration", "-5m"),
        ("size", "10X"),
        ("size", "-1"),
        ("size", "1.5G"),
    ],
)
def test_bad_values(kind: OptionType, text: str) -> None:
    """A mistyped value must not become some other value."""
    with pytest.raises(UsageError, match=rf"option p\.x: .*is no {kind} \("):
        parse_value(Option("x", "help", type=kind), text, "option p.x")


def test_order_of_precedence() -> None:
    """The command line wins over the environment, the environment over the default."""
    environ = {"THING_REGION": "us", "THING_KEY": "1"}
    values = option_values(["thing"], DECLARED, {"thing.key": "2", "other.key": "3"}, environ)
    assert values == {"region": "us", "connections": 5, "key": 2}


def test_every_name_of_a_plugin_counts() -> None:
    """`-o local.connections=9` has to reach the backend of a plain path."""
    assert option_values(["local", "path"], DECLARED, {"path.connections": "9"}, {})["connections"] == 9
    assert option_values(["local", "path"], DECLARED, {"local.connections": "9"}, {})["connections"] == 9


def test_unknown_option_names_the_possible_ones() -> None:
    """A misspelt option that is ignored is a setting that silently does not hold."""
    with pytest.raises(UsageError, match=r"'thing.regoin' is not known; possible: thing.region, thing.connections"):
        option_values(["thing"], DECLARED, {"thing.regoin": "x"}, {})
    with pytest.raises(UsageError, match="thing has no options"):
        option_values(["thing"], (), {"thing.region": "x"}, {})


@pytest.mark.parametrize("environ", [{"THING_KEY": "s3cret"}, {}])
def test_secrets_are_not_told(environ: dict[str, str]) -> None:
    """Error messages end in logs and tickets."""
    given_ = {} if environ else {"thing.key": "s3cret"}
    with pytest.raises(UsageError) as caught:
        option_values(["thing"], DECLARED, given_, environ)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_assignments() -> None:
    """The notation is restic's: keys in any case, blanks around, `=` in values."""
    assert parse_assignments(["S3.Region = eu ", "a.b=c=d", "a.b=c=d", "x.y"]) == {
        "s3.region": "eu",
        "a.b": "c=d",
        "x.y": "",
    }


@pytest.mark.parametrize("text", ["", "=x", "region=x", ".region=x", "s3.=x"])
def test_bad_assignments(text: str) -> None:
    """An option that names no plugin would reach none."""
    with pytest.raises(UsageError, match=r"PLUGIN\.NAME=VALUE"):
        parse_assignments([text])


def test_contradiction() -> None:
    """Two values for one option: whichever wins, one wish is not fulfilled."""
    with pytest.raises(UsageError, match="given twice"):
        parse_assignments(["a.b=1", "a.b=2"])


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["integer", "boolean", "number", "duration", "size"]), st.text(max_size=12))
def test_any_text_is_a_value_or_a_usage_error(kind: OptionType, text: str) -> None:
    """Whatever is typed, the user gets one line and no traceback."""
    try:
        value = parse_value(Option("x", "help", type=kind), text, "option p.x")
    except UsageError:
        return
    assert isinstance(value, int | float)


@pytest.mark.parametrize("declared", ["RESTIC_REST_USERNAME", "LIMPET_REST_USERNAME"])
def test_limpets_variable_comes_before_restics(declared: str) -> None:
    """Both names work for every variable that begins with either, for plugins as for the core."""
    options = [Option("username", "who", environment=declared)]
    environ = {"RESTIC_REST_USERNAME": "for both"}
    assert option_values(["rest"], options, {}, environ) == {"username": "for both"}
    environ["LIMPET_REST_USERNAME"] = "for limpet"
    assert option_values(["rest"], options, {}, environ) == {"username": "for limpet"}

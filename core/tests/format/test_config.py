"""The config: round trip, restic's text, and what is refused."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limpet.errors import IntegrityError, RepositoryError
from limpet.format.chunker import random_polynomial
from limpet.format.config import Config, decode_config, encode_config

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
unknown_names = st.text(min_size=1).filter(lambda name: name not in {"version", "id", "chunker_polynomial"})


def _irreducible(seed: int) -> int:
    return random_polynomial(random.Random(seed).randbytes)


configs = st.builds(
    Config,
    version=st.sampled_from([1, 2]),
    id=st.binary(min_size=32, max_size=32).map(bytes.hex),
    chunker_polynomial=st.integers(0, 2**53).map(_irreducible),
    extra=st.dictionaries(unknown_names, json_values, max_size=3),
)

VALID = {"version": 2, "id": "ab" * 32, "chunker_polynomial": "3da3358b4dc173"}


@given(configs)
def test_decode_undoes_encode(config: Config) -> None:
    """A lost polynomial means that nothing is ever deduplicated again; lost settings of rustic change its work."""
    assert decode_config(encode_config(config)) == config


def test_text_is_that_of_restic() -> None:
    """Field order and the polynomial's hexadecimal are restic's."""
    config = Config(2, "ab" * 32, 0x3DA3358B4DC173)
    assert encode_config(config) == json.dumps(VALID, separators=(",", ":")).encode()


def test_new_configs_have_their_own_id() -> None:
    """The cache is named by this id: two repositories would share one."""
    first, second = (Config.new(2, 0x3DA3358B4DC173) for _ in range(2))
    assert first.id != second.id
    assert decode_config(encode_config(first)) == first


@pytest.mark.parametrize("version", [0, 3, 100])
def test_unknown_versions_are_named(version: int) -> None:
    """A newer repository must not be called damaged."""
    with pytest.raises(RepositoryError, match=f"version {version}"):
        decode_config(json.dumps(VALID | {"version": version}).encode())


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": "2"},
        {"version": -1},
        {"version": True},
        {"id": "ab"},
        {"id": 5},
        {"chunker_polynomial": "0x3da3358b4dc173"},
        {"chunker_polynomial": "3da3358b4dc1_73"},
        {"chunker_polynomial": "1"},
        {"chunker_polynomial": "3da3358b4dc172"},
        {"chunker_polynomial": "7da3358b4dc173"},
        {"chunker_polynomial": ""},
        {"chunker_polynomial": 0x3DA3358B4DC173},
    ],
)
def test_malformed_fields_are_named(wrong: dict[str, object]) -> None:
    """A wrong polynomial would cut every file elsewhere and store it anew."""
    with pytest.raises(IntegrityError, match=next(iter(wrong))):
        decode_config(json.dumps(VALID | wrong).encode())

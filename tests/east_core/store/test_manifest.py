"""Records are not trusted: whatever a store holds, reading it is a record or one line."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from east_core.errors import ArtifactDamaged
from east_core.store import ArtifactFile, ArtifactRecord, Store
from east_core.store.manifest import (
    FORMAT,
    MAX_FILE_BYTES,
    canonical_json,
    decode_record,
    encode_record,
)
from east_core.testing.s3_servers import BUCKET, S3Server, moto_server

HASH = hashlib.sha256(b"hello").hexdigest()
SOUND = ArtifactRecord(
    address="demo/round-01/examples",
    recipe={"stage": "examples"},
    inputs={"samples": "ab12"},
    fingerprint="f" * 64,
    files=(ArtifactFile("table.csv", 5, HASH),),
    facts={"rows": 1},
    code_version="0.1.0",
    created_at="",
    seconds=0.5,
    input_addresses={"samples": "demo/round-01/samples"},
)
BAD_NAMES = [
    "../../../x", "/etc/passwd", "a/../../x", "a//x", "./x", "a/", "", ".", "..", "_record.json",
    "a\x1b[2J", "a\n", "a\x00", "x" * 5000,
]  # fmt: skip


def naming(name: str) -> ArtifactRecord:
    return dataclasses.replace(SOUND, files=(ArtifactFile(name, 5, HASH),))


def test_a_sound_record_is_read_as_it_was_written() -> None:
    assert decode_record(encode_record(SOUND), "there") == SOUND


@pytest.mark.parametrize("name", BAD_NAMES)
def test_file_names_are_refused_on_read_as_on_write(name: str) -> None:
    with pytest.raises(ArtifactDamaged, match="file name of an artifact"):
        decode_record(encode_record(naming(name)), "there")


@pytest.mark.parametrize(
    "changes",
    [
        {"files": (ArtifactFile("a", -1, HASH),)},
        {"files": (ArtifactFile("a", MAX_FILE_BYTES + 1, HASH),)},
        {"files": (ArtifactFile("a", 5, "../x"),)},
        {"files": SOUND.files * 2},
        {"folder": "../../elsewhere"},
        {"folder": "/etc"},
        {"address": "../other"},
        {"input_addresses": {"samples": "/etc"}},
        {"input_addresses": {"nobody": "demo/x"}},
    ],
    ids=str,
)
def test_what_no_artifact_has_is_refused(changes: dict[str, Any]) -> None:
    raw = encode_record(dataclasses.replace(SOUND, **changes))
    with pytest.raises(ArtifactDamaged, match="is damaged"):
        decode_record(raw, "there")


@pytest.mark.parametrize(
    "field", ["recipe", "inputs", "files", "facts", "seconds", "versions", "address", "folder"]
)
@pytest.mark.parametrize("value", [None, 5, "..x", [1], {"a": 5}], ids=repr)
def test_a_field_of_another_type_is_refused(field: str, value: object) -> None:
    fields = {**dataclasses.asdict(SOUND), "format": FORMAT, field: value}
    fields["checksum"] = hashlib.sha256(canonical_json(fields).encode()).hexdigest()
    raw = (json.dumps(fields, sort_keys=True, indent=1) + "\n").encode()
    if field in ("recipe", "facts") and value == {"a": 5}:
        assert decode_record(raw, "there")
        return
    with pytest.raises(ArtifactDamaged, match="is damaged"):
        decode_record(raw, "there")


@given(st.one_of(st.binary(), st.text().map(str.encode)))
def test_any_bytes_are_one_line(raw: bytes) -> None:
    with pytest.raises(ArtifactDamaged) as caught:
        decode_record(raw, "there")
    assert "\n" not in str(caught.value)


@given(position=st.integers(0, 10_000), value=st.integers(0, 255))
def test_any_changed_byte_is_noticed(position: int, value: int) -> None:
    raw = bytearray(encode_record(SOUND))
    position %= len(raw)
    if raw[position] != value:
        raw[position] = value
        with pytest.raises(ArtifactDamaged):
            decode_record(bytes(raw), "there")


def test_deep_nesting_is_one_line() -> None:
    for raw in (b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000):
        with pytest.raises(ArtifactDamaged, match="it is no record"):
            decode_record(raw, "there")


@pytest.fixture(scope="module")
def bucket() -> Iterator[S3Server]:
    with moto_server() as server:
        server.create_bucket()
        yield server


@pytest.fixture(params=["local", "memory", "s3"])
def put(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[ArtifactRecord], Store]:
    """Put a record into a store as whoever may write there could."""
    url = f"memory://{tmp_path.name}"
    if request.param == "s3":
        url = f"s3://{BUCKET}/{tmp_path.name}"
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        for name, value in request.getfixturevalue("bucket").environment().items():
            monkeypatch.setenv(name, value)

    def into(record: ArtifactRecord) -> Store:
        if request.param == "local":
            store = Store(str(tmp_path / "store"))
            (tmp_path / "store" / record.address).mkdir(parents=True)
        else:
            store = Store(url, tmp_path / "cache")
        store.write(f"{record.address}/_record.json", encode_record(record))
        return store

    return into


def test_a_record_cannot_make_us_write_outside(
    put: Callable[[ArtifactRecord], Store], tmp_path: Path
) -> None:
    before = sorted(tmp_path.parent.rglob("escaped*"))
    store = put(naming("../../../escaped"))
    with pytest.raises(ArtifactDamaged, match="file name of an artifact"):
        store.require(SOUND.address)
    assert sorted(tmp_path.parent.rglob("escaped*")) == before


def test_records_at_names_that_are_no_address_are_passed_over(
    put: Callable[[ArtifactRecord], Store],
) -> None:
    store = put(SOUND)
    store.write(f"{SOUND.address}/ .x _record.json", b"")
    assert store.addresses() == [SOUND.address]

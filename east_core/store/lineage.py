"""Where an artifact came from: the tree back to the base model and the questions.

Every record names its inputs by address and by content, so the tree is read from the records
alone. An input that was since deleted, or made again with another content, is marked as such.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from east_core.errors import StoreError
from east_core.store.manifest import RECORD_NAME, ArtifactRecord, decode_record
from east_core.store.store import Store

LinkState = Literal["sound", "missing", "changed", "external"]


@dataclass(frozen=True, slots=True)
class InputLink:
    """One input of an artifact: by `content` as recorded, and what is at its address today.

    "external" inputs are no artifacts of the store and have no address.
    """

    name: str
    content: str
    address: str | None
    state: LinkState


@dataclass(frozen=True, slots=True)
class Lineage:
    """An artifact's ancestors: records and input links by address, from the artifact back."""

    root: str
    records: Mapping[str, ArtifactRecord]
    links: Mapping[str, tuple[InputLink, ...]]


def open_artifact(url: str) -> tuple[Store, str]:
    """The store and the address of the artifact at a URL; its own record tells where it begins.

    Raises StoreError where there is no artifact, ArtifactDamaged where its record is malformed.
    """
    parent, _, name = url.rstrip("/").rpartition("/")
    try:
        raw = Store(parent or ".").place.read(f"{name}/{RECORD_NAME}")
    except FileNotFoundError:
        raise StoreError(
            f"there is no artifact at {url}; give an address such as RUN_URL/round-01/checkpoint "
            "(`east runs STORE_URL` lists the runs)"
        ) from None
    address = decode_record(raw, url).address
    root = url.rstrip("/").removesuffix(address).rstrip("/")
    if root == url.rstrip("/"):
        raise StoreError(f"the artifact at {url} was made as {address}; move it back to read it")
    return Store(root or "."), address


def trace(store: Store, address: str) -> Lineage:
    """The lineage of the artifact at `address`. Raises StoreError where there is none."""
    records = {address: store.require(address)}
    links: dict[str, tuple[InputLink, ...]] = {}
    waiting = [address]
    while waiting:
        current = waiting.pop(0)
        links[current] = tuple(_links(store, records[current], records))
        for link in links[current]:
            if link.address in records and link.address not in (*links, *waiting):
                waiting.append(str(link.address))
    return Lineage(address, records, links)


def lineage_lines(lineage: Lineage) -> Iterator[str]:
    """The tree as text: one artifact a line, its settings below it; repeated ones are named only.

    Code and library versions follow at the end, once for each combination in the tree.
    """
    shown: set[str] = set()
    stack: list[tuple[str, str, InputLink | None]] = [("", lineage.root, None)]
    while stack:
        indent, address, link = stack.pop()
        yield f"{indent}{_title(lineage, address, link, address in shown)}"
        if address in shown or address not in lineage.records:
            continue
        shown.add(address)
        yield f"{indent}    {_settings(lineage.records[address])}"
        inputs = reversed(lineage.links[address])
        stack += [(f"{indent}   ", link.address or link.name, link) for link in inputs]
    yield from _versions(lineage)


def lineage_json(lineage: Lineage) -> dict[str, Any]:
    """The same for programs: records by address, each with its links."""
    return {
        "artifact": lineage.root,
        "records": {
            address: {
                "stage": record.stage,
                "recipe": dict(record.recipe),
                "facts": dict(record.facts),
                "fingerprint": record.fingerprint,
                "content": record.content,
                "files": {file.path: file.sha256 for file in record.files},
                "created_at": record.created_at,
                "seconds": record.seconds,
                "code_version": record.code_version,
                "versions": dict(record.versions),
                "inputs": [
                    {"name": link.name, "address": link.address, "content": link.content,
                     "state": link.state}
                    for link in lineage.links[address]
                ],
            }
            for address, record in lineage.records.items()
        },
    }  # fmt: skip


def _links(
    store: Store, record: ArtifactRecord, records: dict[str, ArtifactRecord]
) -> Iterator[InputLink]:
    """The inputs of a record; what is found is added to `records`."""
    for name, content in record.inputs.items():
        address = record.input_addresses.get(name)
        if address is None:
            yield InputLink(name, content, None, "external")
            continue
        found = records.get(address) or store.record(address)
        if found is None:
            yield InputLink(name, content, address, "missing")
            continue
        records[address] = found
        yield InputLink(name, content, address, "sound" if found.content == content else "changed")


def _title(lineage: Lineage, address: str, link: InputLink | None, is_repeated: bool) -> str:
    label = f"{link.name}: " if link else ""
    if link and link.state == "external":
        return f"{label}{link.content}"
    if link and link.state == "missing":
        return f"{label}{address}  MISSING (was {link.content[:12]})"
    record = lineage.records[address]
    changed = (
        f"  CHANGED since (was {link.content[:12]})" if link and link.state == "changed" else ""
    )
    if is_repeated:
        return f"{label}{address}  (above){changed}"
    return (
        f"{label}{address}  {record.content[:12]}  {record.created_at}  {record.seconds:.1f} s"
        f"{changed}"
    )


def _settings(record: ArtifactRecord) -> str:
    recipe = {name: value for name, value in record.recipe.items() if name != "stage"}
    return f"{record.stage} {json.dumps(recipe, ensure_ascii=False)}"


def _versions(lineage: Lineage) -> Iterator[str]:
    used: dict[str, list[str]] = {}
    for address, record in lineage.records.items():
        libraries = ", ".join(f"{name} {version}" for name, version in record.versions.items())
        used.setdefault(f"code {record.code_version}; {libraries}", []).append(address)
    for line, addresses in used.items():
        where = "all of it" if len(used) == 1 else ", ".join(addresses)
        yield f"made with {line} ({where})"

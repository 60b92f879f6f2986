"""What became of each row, and the table of docs/reliability.md that tells it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.integration.faults.scene import Records, Row


@dataclass(frozen=True)
class Result:
    """What became of a row.

    `recorded` stages stood when the fault struck, `repeated` of them were made again, and
    `differing` do not have the undisturbed run's content.
    """

    name: str
    outcome: str
    finished: bool
    recorded: int
    repeated: Sequence[str]
    differing: Sequence[str]
    code_version: str

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, repeated or changed."""
        return self.finished and not self.repeated and not self.differing


def repeated(before: Records, after: Records) -> list[str]:
    """Recorded stages whose record is not the same to the byte."""
    return sorted(address for address, data in before.items() if after.get(address) != data)


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The addresses whose contents are not the same."""
    addresses = one.keys() | other.keys()
    return sorted(address for address in addresses if one.get(address) != other.get(address))


def table(rows: Sequence[Row], results: Mapping[str, Result]) -> str:
    """The rows as Markdown."""
    done = [row for row in rows if row.name in results]
    cells = [
        ("fault", "engines", "store", "what is told", "a rerun", "hashes"),
        ("---",) * 6,
        *(_cells(row, results[row.name]) for row in done),
    ]
    lines = "\n".join("| " + " | ".join(row) + " |" for row in cells)
    versions = ", ".join(sorted({results[row.name].code_version for row in done}))
    missing = [row.name for row in rows if row.name not in results]
    left = f" Not carried out yet: {', '.join(missing)}." if missing else ""
    return f"{lines}\n\n{len(done)} rows, measured with {versions}.{left}"


def _cells(row: Row, result: Result) -> tuple[str, ...]:
    again = f"{len(result.repeated)} of {result.recorded} repeated"
    return (
        row.fault,
        row.engines,
        "S3" if row.on_s3 else "folder",
        result.outcome.replace("|", "\\|"),
        f"finishes; {again}" if result.finished else "DOES NOT FINISH",
        "equal" if not result.differing else f"{len(result.differing)} DIFFER",
    )

"""A server in a new folder begins with a copy of Prefect's empty database."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from prefect.settings import (
    PREFECT_API_DATABASE_CONNECTION_URL,
    PREFECT_HOME,
    temporary_settings,
)

from flows.server import template
from flows.server.template import begin_with_template, template_path

MAKE = "import sys; sys.prefix = sys.argv[1]; from flows.server import template as t; "
MIGRATE = (
    "import asyncio; from prefect.server.database import provide_database_interface as p; "
    "asyncio.run(p().create_db())"
)


def python(code: str, *arguments: str, home: Path) -> str:
    environment = {**os.environ, "PREFECT_HOME": str(home)}
    environment.pop("PREFECT_API_DATABASE_CONNECTION_URL", None)
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.check_output(command, env=environment, text=True)


def tables(database: Path) -> dict[str, int]:
    """How many rows each table of a database has."""
    with closing(sqlite3.connect(database)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
            for (name,) in names
        }


def schema(database: Path) -> set[tuple[str, str]]:
    with closing(sqlite3.connect(database)) as connection:
        return set(connection.execute("SELECT name, sql FROM sqlite_master").fetchall())


def test_the_template_is_what_migrations_leave_and_nothing_else(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    made = Path(python(f"{MAKE}print(t.make_template())", str(tmp_path), home=home).strip())
    rows = {name: count for name, count in tables(made).items() if count}
    assert rows == {"alembic_version": 1}
    assert list(made.parent.iterdir()) == [made]
    python(f"{MAKE}t.begin_with_template()", str(tmp_path), home=home)
    begun = schema(home / "prefect.db")
    assert len(begun) > 50
    python(MIGRATE, home=home)  # finds nothing to do
    assert schema(home / "prefect.db") == begun


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new PREFECT_HOME, and a template that says so."""
    monkeypatch.setattr(template.sys, "prefix", str(tmp_path / "env"))
    template_path().parent.mkdir(parents=True)
    template_path().write_text("the template")
    return tmp_path / "home"


def begin(home: Path, url: str = "") -> str:
    """What a server's database holds that begins in `home`; empty where there is none."""
    database = home / "prefect.db"
    known = {
        PREFECT_HOME: home,
        PREFECT_API_DATABASE_CONNECTION_URL: url or f"sqlite+aiosqlite:///{database}",
    }
    with temporary_settings(known):
        begin_with_template()
    return database.read_text() if database.exists() else ""


def test_a_new_folder_gets_a_copy(home: Path) -> None:
    assert begin(home) == "the template"
    assert [path.name for path in home.iterdir()] == ["prefect.db"]


def test_what_is_there_stays(home: Path) -> None:
    home.mkdir()
    (home / "prefect.db").write_text("runs of last year")
    assert begin(home) == "runs of last year"


def test_without_a_template_prefect_migrates(home: Path) -> None:
    template_path().unlink()
    assert begin(home) == ""


@pytest.mark.parametrize(
    "url", ["postgresql+asyncpg://u@db/prefect", "sqlite+aiosqlite:////elsewhere/prefect.db"]
)
def test_another_database_is_left_alone(home: Path, url: str) -> None:
    assert begin(home, url) == ""

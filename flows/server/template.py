"""Prefect's empty database, made once: a server in a new folder begins with a copy.

    python -m flows.server.template

Prefect makes its tables in a hundred migrations, 8 to 13 s of CPU for every folder that is new. The
template holds nothing but the tables and the number of the last migration, so no two servers share
anything; it lies beside the installed packages and belongs to one version of Prefect. Where there
is none, or the database is elsewhere (PostgreSQL), Prefect migrates as ever.
"""

import asyncio
import os
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from importlib.metadata import version
from pathlib import Path


def template_path() -> Path:
    """Where the template of the installed Prefect is, or would be."""
    return Path(sys.prefix) / "share" / "east" / f"prefect-{version('prefect')}.db"


def begin_with_template() -> None:
    """Copy the template to the place of the settings' database, where neither is there yet."""
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, PREFECT_HOME

    database = PREFECT_HOME.value() / "prefect.db"
    url = str(PREFECT_API_DATABASE_CONNECTION_URL.value())
    is_new = url == f"sqlite+aiosqlite:///{database}" and not database.exists()
    if not is_new or not template_path().is_file():
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=database.parent) as folder:
        copy = shutil.copyfile(template_path(), Path(folder) / "prefect.db")
        try:
            os.link(copy, database)
        except FileExistsError:  # another server was first
            return


def make_template() -> Path:
    """Migrate an empty database in a folder of its own, and keep it; where it is."""
    path = template_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        os.environ["PREFECT_HOME"] = folder
        from prefect.server.database import provide_database_interface

        asyncio.run(provide_database_interface().create_db())
        whole = Path(folder) / "whole.db"
        with closing(sqlite3.connect(Path(folder) / "prefect.db")) as connection:
            connection.execute("VACUUM INTO ?", (str(whole),))
        whole.replace(path)
    return path


if __name__ == "__main__":
    print(make_template())

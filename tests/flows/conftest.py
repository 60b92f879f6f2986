"""The command line, run in the test's own process; pictures that cost no time."""

import sys
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure

from flows.commands.main import main


@pytest.fixture(autouse=True)
def blank_pictures(request, monkeypatch):
    """Figures come out blank: drawing them takes most of a run's time with scripted engines.

    tests/east_core/reports and the run browser's tests look at what is drawn, and whole runs in
    tests/integration draw.
    """
    if "browser" in request.path.parts:
        return
    save = Figure.savefig

    def save_blank(_, target, **options):
        save(Figure(figsize=(1, 1)), target, **options)

    monkeypatch.setattr(Figure, "savefig", save_blank)


@pytest.fixture
def east(monkeypatch, capsys):
    """Run the command line in this process."""

    def east(*arguments):
        monkeypatch.setattr(sys, "argv", ["east", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        printed = capsys.readouterr()
        return SimpleNamespace(
            returncode=exit_.value.code or 0, stdout=printed.out, stderr=printed.err
        )

    return east

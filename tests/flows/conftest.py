"""The command line, run in the test's own process."""

import sys
from types import SimpleNamespace

import pytest

from flows.commands.main import main


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

"""Children are heard, their failures told, and no process of theirs outlives anyone."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock

from east_core.engines.messages import Message, reader
from east_core.engines.processes import ChildProcess, emit, message_in, run_child
from east_core.engines.temporary import TemporaryFolder
from east_core.errors import EngineError

# A child with a grandchild in a session of its own, as torchrun's ranks are.
ORPHAN_MAKER = "setsid sleep 4242 & sleep 4242"


class Told(Message, frozen=True):
    """A message of these tests."""

    answer: str


def sleepers() -> list[int]:
    processes = psutil.process_iter(["cmdline"])
    return [p.pid for p in processes if p.info["cmdline"] == ["sleep", "4242"]]


def wait_for(count: int) -> bool:
    deadline = time.monotonic() + 20
    while len(sleepers()) != count and time.monotonic() < deadline:
        time.sleep(0.05)
    return len(sleepers()) == count


def test_output_arrives_line_by_line_and_messages_are_told_apart(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines: list[str] = []
    run_child(["sh", "-c", "echo one; echo two >&2"], on_line=lines.append)
    assert sorted(lines) == ["one", "two"]
    emit(Told("42"))
    assert message_in(capsys.readouterr().out, reader(Told)) == Told("42")
    assert message_in("a line of log", reader(Told)) is None


def test_a_failure_quotes_the_last_words() -> None:
    with pytest.raises(EngineError, match=r"status 3; last output: .*out of memory"):
        run_child(["sh", "-c", "echo out of memory; exit 3"])


def test_a_time_out_ends_the_whole_tree() -> None:
    with pytest.raises(EngineError, match="ended after 1 s"):
        run_child(["sh", "-c", ORPHAN_MAKER], timeout=1)
    assert wait_for(0)


def test_leaving_the_context_ends_the_whole_tree() -> None:
    with ChildProcess(["sh", "-c", ORPHAN_MAKER]):
        assert wait_for(2)
    assert wait_for(0)


STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
print(os.getpid(), flush=True)
time.sleep(4242)
"""


@pytest.mark.slow
def test_what_must_be_killed_is_gone_when_the_end_returns() -> None:
    """Training starts then, on the device that it had."""
    with ChildProcess([sys.executable, "-c", STUBBORN]) as child:
        lines = child.lines()
        stubborn = [psutil.Process(int(next(lines))) for _ in range(2)]
    assert not [process for process in stubborn if process.is_running()]


def test_killing_the_parent_ends_the_whole_tree() -> None:
    program = (
        "from east_core.engines.processes import run_child; "
        f"run_child(['sh', '-c', {ORPHAN_MAKER!r}])"
    )
    parent = subprocess.Popen([sys.executable, "-c", program])
    assert wait_for(2)
    parent.kill()
    parent.wait()
    assert wait_for(0)


# What engines do: files in the folder of temporary files, and no time to remove them.
LEAVING = 'touch "$TMPDIR/left"; echo "$TMPDIR"; '


@pytest.mark.parametrize("end", ["by itself", "ended", "owner killed"])
def test_temporary_files_go_with_the_tree(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = tmp_path / "east-again-1"
    others.mkdir()
    with monkeypatch.context() as patched:
        patched.setenv("TMPDIR", str(tmp_path))
        with ChildProcess(
            ["sh", "-c", LEAVING + ("" if end == "by itself" else "sleep 60")]
        ) as child:
            folder = Path(next(child.lines()))
            assert folder.parent == tmp_path
            assert (folder / "left").exists() or end == "by itself"
            if end == "by itself":
                child.wait()
            elif end != "ended":
                psutil.Process(child.pid).kill()
                child.wait()
                assert folder.exists(), "nobody was there to remove it"
                with ChildProcess(["true"]) as another:
                    another.wait()
    assert list(tmp_path.iterdir()) == [others]


def test_a_living_tree_keeps_its_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with ChildProcess(["sh", "-c", LEAVING + "sleep 60"]) as child:
        folder = Path(next(child.lines()))
        with ChildProcess(["true"]) as another:
            another.wait()
        assert (folder / "left").exists()


def test_a_folder_that_is_not_locked_yet_is_not_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another tree starts between the making of the lock's file and the lock."""
    acquire = FileLock.acquire

    def meanwhile(lock: FileLock, *about: Any, **more: Any) -> Any:
        monkeypatch.setattr(FileLock, "acquire", acquire)
        Path(lock.lock_file).touch()
        TemporaryFolder().remove()
        assert Path(lock.lock_file).exists()
        return acquire(lock, *about, **more)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(FileLock, "acquire", meanwhile)
    folder = TemporaryFolder()
    assert list(tmp_path.iterdir()) == [folder.path]
    folder.remove()


COPYING = """
import sys
from east_core.engines.processes import fork_copies
print("imported", flush=True)
fork_copies()
for line in sys.stdin:
    print(line, end="", flush=True)
"""


def test_copies_of_a_child_talk_on_pipes_of_their_own_and_end_with_it() -> None:
    with ChildProcess([sys.executable, "-c", COPYING], forks=2) as child:
        assert next(child.lines()) == "imported"
        talks = [child, *child.copies]
        for number, talk in enumerate(talks):
            talk.send(Told(str(number)))
        told = [reader(Told)(next(talk.lines())).answer for talk in talks]
        assert told == ["0", "1", "2"]
        first, *copies = [
            process
            for process in psutil.Process(child.pid).children(recursive=True)
            if process.status() != psutil.STATUS_ZOMBIE
        ]
        assert len(copies) == 2
        copies[0].kill()
        assert list(child.copies[0].lines()) == []  # only its own conversation ends
        child.copies[1].send(Told("still there"))
        assert "still there" in next(child.copies[1].lines())
        first.kill()
        assert list(child.copies[1].lines()) == []
        # its pipe closes a little before it is gone
        ended, _ = psutil.wait_procs([copies[1]], timeout=10)
        assert ended or copies[1].status() == psutil.STATUS_ZOMBIE


FORKING = """
import multiprocessing, time
from east_core.engines.processes import read_commands

inbox = read_commands()
print(inbox.get(), end="", flush=True)
time.sleep(0.3)  # the thread waits for the next line
forked = multiprocessing.get_context("fork").Process(target=print, args=("forked",))
forked.start()
forked.join(10)
print("ended with", forked.exitcode, flush=True)
forked.kill()
print(inbox.get(), end="", flush=True)
print(inbox.get(), flush=True)
"""


def test_a_child_that_reads_its_commands_can_fork() -> None:
    """As vLLM does on GPUs for its engine: a lock that was held in between would stay held."""
    with ChildProcess([sys.executable, "-W", "ignore", "-c", FORKING]) as child:
        child.send(Told("one"))
        lines = child.lines()
        assert "one" in next(lines)
        assert next(lines) == "forked"
        assert next(lines) == "ended with 0"
        child.send(Told("two"))
        assert "two" in next(lines)


def test_messages_reach_the_child() -> None:
    with ChildProcess(["cat"]) as child:
        child.send(Told("42"))
        assert reader(Told)(next(child.lines())) == Told("42")


def test_sending_to_a_dead_child_is_an_engine_error() -> None:
    with ChildProcess(["true"]) as child:
        child.wait()
        with pytest.raises(EngineError, match=r"the process is gone \(ended with status"):
            child.send(Told("x" * 1_000_000))  # more than any pipe buffers


def test_the_environment_reaches_the_child_and_stays_out_of_ours() -> None:
    lines: list[str] = []
    run_child(["sh", "-c", "echo $EAST_PROBE"], env={"EAST_PROBE": "seen"}, on_line=lines.append)
    assert lines == ["seen"]
    assert "EAST_PROBE" not in os.environ


def test_what_lies_in_the_current_folder_hides_no_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("numbers", "json", "msgspec", "east_core"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('hidden')")
    monkeypatch.chdir(tmp_path)
    lines: list[str] = []
    run_child([sys.executable, "-m", "json.tool", "--help"], on_line=lines.append)
    assert any("usage" in line for line in lines)

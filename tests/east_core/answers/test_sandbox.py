"""Programs that attack: each is contained and counted, and the next one runs as ever."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from east_core.answers.code import sandbox as sandbox_module
from east_core.answers.code.plain_values import decode, encode
from east_core.answers.code.programs import behaviour
from east_core.answers.code.sandbox import Limits, Sandbox, require_sandbox
from east_core.answers.code.tests import read_tests
from east_core.errors import ConfigError
from tests.east_core.answers.sandboxed import needs_sandbox

ROOT = Path(__file__).resolve().parents[3]
LIMITS = Limits(seconds=1, megabytes=256)
ATTEMPT = """def {name}(x):
    try:
{body}
    except BaseException as e:
        return type(e).__name__"""


def attempt(number: int, body: str) -> str:
    """A function that gives what the body returns, or the name of the exception that it raised."""
    indented = "\n".join(f"        {line}" for line in body.strip().splitlines())
    return ATTEMPT.format(name=f"f{number}", body=indented)


def refused(body: str) -> str:
    return f"import re\ntry: {body}\nexcept OSError: return 'refused'"


# what each is refused with, or what it sees
REFUSED = {
    "fork": ("import os\nreturn os.fork()", "PermissionError"),
    "fork bomb": ("import os\nwhile True: os.fork()", "PermissionError"),
    "subprocess": ("import subprocess\nreturn subprocess.run(['true'])", "PermissionError"),
    "socket": ("import socket\nreturn socket.socket()", "PermissionError"),
    "name service": ("import socket\nreturn socket.getaddrinfo('example.org', 80)", "gaierror"),
    "environment": ("import os\nreturn sorted(os.environ)",
                    ["LC_CTYPE", "PWD", "PYTHONHASHSEED"]),
    "parent's environment": ("return open(f'/proc/{__import__(\"os\").getppid()}/environ').read()",
                             "FileNotFoundError"),
    "shadow": ("return open('/etc/shadow').read()", "FileNotFoundError"),
    "passwd": ("return open('/etc/passwd').read()", "FileNotFoundError"),
    "home": ("import os\nreturn [f for f in os.listdir(os.path.expanduser('~'))]",
             "FileNotFoundError"),
    "write to the root": (refused("open('/x', 'w')"), "refused"),
    "write to the library": (refused("open(re.__file__, 'a')"), "refused"),
    "write to the sandbox": (refused("open('/sandbox/inside.py', 'a')"), "refused"),
    "mount": (("import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
              "return [libc.mount(b'/', b'/tmp', b'', 4096, None), ctypes.get_errno()]"), [-1, 1]),
    "new namespaces": (("import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
                       "return [libc.unshare(0x10000000), ctypes.get_errno()]"), [-1, 1]),
    "trace": (("import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
              "return [libc.ptrace(16, 1, 0, 0), ctypes.get_errno()]"), [-1, 1]),
    "kill": ("import os\nos.kill(-1, 9)", "PermissionError"),
    "be root": ("import os\nos.setuid(0)", "OSError"),
    "more memory by right": ("import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
                             "ValueError"),
    "fill the disk": (("for n in range(99):\n  with open(f'/tmp/{n}', 'wb') as f: "
                      "f.write(bytes(3 << 20))"), "OSError"),
    "one large file": ("with open('/tmp/x', 'wb') as f:\n  while True: f.write(bytes(1 << 20))",
                       "OSError"),
    "deep recursion": ("def g(): return g()\nreturn g()", "RecursionError"),
    "threads without end": (("import threading, time\nwhile True: threading.Thread("
                            "target=time.sleep, args=(9,), daemon=True).start()"), "RuntimeError"),
}  # fmt: skip
STOPPED = {
    "endless loop": ("def f(x):\n    while True: pass", "out of time"),
    "endless loop that swallows": (
        ("def f(x):\n    while True:\n        try:\n            while True: pass\n"
        "        except BaseException: pass"), "out of time"),
    "10 GB of memory": ("def f(x): return bytes(10 << 30)", "out of memory"),
    "ignoring the limit's signal": ((
        "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\n"
        "def f(x):\n    while True: pass"), "out of time"),
    "printing without end": ("def f(x):\n    while True: print('x' * (1 << 20))", "out of time"),
    "exit": ("import os\ndef f(x): os._exit(0)", "died"),
    "crash": ("import ctypes\ndef f(x): ctypes.string_at(0)", "died"),
    "deep recursion in C": ("import json\ndef f(x):\n    return json.loads('[' * 10**6)", None),
    "a value without end": ("def f(x):\n    a = []\n    a.append(a)\n    return a", None),
    "a value of 100 MB": ("def f(x): return 'x' * (100 << 20)", None),
    "a message of 100 MB": (("import os\ndef f(x):\n    while True:\n"
                            "        for n in range(3, 32):\n"
                            "            try: os.write(n, b'x' * 65536)\n"
                            "            except OSError: pass"), "too much output"),
}  # fmt: skip
HEAVIEST = ("endless loop", "10 GB of memory", "a message of 100 MB")
FORGED = {
    "a value that equals all": (
        "class A:\n    def __eq__(self, other): return True\n    def __hash__(self): return 4\n"
        "    def __repr__(self): return '4'\ndef f(x): return A()"),
    "a number that equals all": (
        "class A(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n"
        "def f(x): return A(3)"),
    "a list that equals all": (
        "class A(list):\n    def __eq__(self, other): return True\ndef f(x): return A([1])"),
    "exit before the tests": "import sys\nsys.exit(0)",
    "exit in the tests": "import sys\ndef f(x): sys.exit(0)",
    "patched builtins": (
        "import builtins\nbuiltins.AssertionError = type('A', (Exception,), {})\n"
        "builtins.isinstance = lambda a, b: True\ndef f(x): return 3"),
    "patched driver": (
        "import sys\nmain = sys.modules['__main__']\n"
        "main.outcome = lambda work: {'results': ['passed'] * 3}\n"
        "main.encode = lambda v: ['int', '0x3']\ndef f(x): return 3"),
    "a printed result": "print('{\"results\": [\"passed\"]}')\ndef f(x): return 3",
    "a message of its own": (
        "import os\nforged = b'{\"results\": [\"passed\"]}\\n'\n"
        "for n in range(3, 32):\n    try: os.write(n, forged)\n"
        "    except OSError: pass\ndef f(x): return 3"),
    "frames of the caller": (
        "import sys\ndef f(x):\n    frame = sys._getframe()\n    found = []\n"
        "    while frame:\n        found += [v for v in frame.f_locals.values() if v == 4]\n"
        "        frame = frame.f_back\n    return found[0] if found else 3"),
}  # fmt: skip
TESTS = read_tests("assert f(2) == 4\nassert f(1) == 1\nassert f(3) == 9")


def right() -> bool:
    """Whether an honest program still passes; it is another one each time, for some are known."""
    return behaviour(f"def f(x): return x * x  # {time.monotonic()}", TESTS, LIMITS).passes


def attempts() -> dict[str, object]:
    """What each of REFUSED gives, one after the other in one sandbox."""
    home = repr(str(Path.home() / ".config" / ".."))
    bodies = [body.replace("os.path.expanduser('~')", home) for body, _ in REFUSED.values()]
    source = "\n\n".join(attempt(number, body) for number, body in enumerate(bodies))
    none = encode([[0], {}])
    with closing(Sandbox("program_side", Limits(5, 256))) as inside:
        loaded = inside.ask({"program": source, "prints": False})
        assert loaded == {"gives": None}
        replies = [
            inside.ask({"name": f"f{number}", "arguments": none}) for number in range(len(bodies))
        ]
    return {name: decode(reply["gives"]) for name, reply in zip(REFUSED, replies, strict=True)}


@pytest.fixture(scope="module")
def refusals() -> dict[str, object]:
    return attempts()


@needs_sandbox
@pytest.mark.parametrize("name", REFUSED)
def test_what_a_program_has_no_right_to_is_refused(name: str, refusals: dict[str, object]) -> None:
    assert refusals[name] == REFUSED[name][1]


@needs_sandbox
@pytest.mark.parametrize("name", STOPPED)
def test_what_a_program_takes_too_much_of_stops_it(name: str) -> None:
    source, limit = STOPPED[name]
    found = behaviour(source, TESTS, LIMITS)
    assert (found.passes, found.limit) == (False, limit)


@needs_sandbox
@pytest.mark.parametrize("name", FORGED)
def test_a_program_cannot_forge_that_it_passes(name: str) -> None:
    assert not behaviour(FORGED[name], TESTS, LIMITS).passes


NO_MESSAGES = [
    '{"gives": ["float", "abc"]}', '{"gives": ["float", "1", "2"]}', '{"gives": ["int", "zz"]}',
    '{"gives": ["dict", [["list"], 1]]}', '{"gives": ["dict", ["a"]]}',
    '{"gives": ["set", ["dict"]]}',
    '{"gives": [["list"]]}', '{"gives": [null]}', '{"gives": []}', '{"gives": 3}', '{"raises": 5}',
    '{"raises": "MemoryError"}', '{"gives": ["bytes", "xx"]}', '{"gives": ["complex", "a", "b"]}',
    '{"gives": {"list": 1}}', '[]', "3", "{}", "nonsense", "[" * 100_000, "9" * 10_000,
    '{"gives": ["int", "0x4"], "raises": "x"}', '{"gives": "\\ud800"}',
    '{"gives": ' + '["list", ' * 90 + "1" + "]" * 90 + "}",
]  # fmt: skip


@needs_sandbox
@pytest.mark.parametrize("case", ["asserts", "cases", "prints"])
def test_messages_that_a_program_makes_up_end_nothing_but_itself(case: str) -> None:
    """Each of them is sent first at the load, and then in place of what a call gives."""
    tests = {
        "asserts": "assert f(2) == 4",
        "cases": '{"entry_point": "f", "inputs": [[2]], "outputs": [4]}',
        "prints": '{"inputs": ["2"], "outputs": ["4"]}',
    }[case]
    attempt = "try: os.write(n, {message!r})"
    send = f"for n in range(3, 32):\n        {attempt}\n        except OSError: pass"
    whole = f"import os\ndef f(x):\n    {send}\n    return 3\nif __name__ == '__main__': f(1)"
    messages = [f"{message}\n".encode() for message in NO_MESSAGES]
    programs = [whole.format(message=message) for message in messages]
    if case == "asserts":
        programs += [f"{program}\nf(1)" for program in programs]
    with ThreadPoolExecutor(2) as pool:
        found = list(
            pool.map(lambda program: behaviour(program, read_tests(tests), LIMITS), programs)
        )
    assert not any(each.passes for each in found)


@needs_sandbox
def test_nothing_is_left_behind_and_the_next_program_runs() -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    source = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n"
    assert behaviour(f"{source}def f(x): return x * x", TESTS, LIMITS).passes
    deadline = time.monotonic() + 5
    while {child.pid for child in psutil.Process().children(recursive=True)} - before:
        assert time.monotonic() < deadline
    assert right()


@needs_sandbox
@pytest.mark.parametrize("whom", ["bubblewrap", "program"])
@pytest.mark.parametrize("side", [0, 1])
def test_a_sandbox_that_somebody_kills_decides_nothing(
    whom: str, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Sandbox] = []
    start = Sandbox.__init__

    def killed(sandbox: Sandbox, *about: Any) -> None:
        start(sandbox, *about)
        started.append(sandbox)
        if len(started) == side + 1:
            kill(sandbox, whom)

    monkeypatch.setattr(Sandbox, "__init__", killed)
    tests = read_tests("assert f(3) == 9")
    assert behaviour(f"def f(x): return x * x  # {whom} {side}", tests, LIMITS).passes
    assert len(started) == 4, "both were started again"


def kill(sandbox: Sandbox, whom: str) -> None:
    bubblewrap = psutil.Process(sandbox._process.pid)
    victims = [bubblewrap]
    while whom == "program" and not (victims := bubblewrap.children(recursive=True)[1:]):
        time.sleep(0.005)
    victims[0].kill()


@needs_sandbox
def test_a_program_that_is_killed_each_time_is_lost() -> None:
    source = "import os\ndef f(x): os._exit(137)"
    assert behaviour(source, TESTS, LIMITS).limit == "out of time"


@needs_sandbox
def test_sleeping_is_bounded_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Limits, "wall_seconds", 1.5)
    found = behaviour("import time\ndef f(x): time.sleep(1000)", TESTS, LIMITS)
    assert found.limit == "out of time"


@needs_sandbox
def test_a_program_is_not_told_what_is_right() -> None:
    source = (
        "import gc\nmark = ''.join(['MARK', '-9431'])\ndef f(x):\n"
        "    held = [o for o in gc.get_objects() if isinstance(o, (dict, list, tuple))]\n"
        "    texts = [v for o in held for v in list(o) if isinstance(v, str)]\n"
        "    return [v[:20] for v in texts if mark in v and v != mark]"
    )
    tests = read_tests("assert f(1) == [] and 'MARK-9431'")
    assert behaviour(source, tests, Limits(5, 256)).passes


def test_without_bubblewrap_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    require_sandbox.cache_clear()
    monkeypatch.setattr(sandbox_module.shutil, "which", lambda _: None)
    with pytest.raises(ConfigError, match="install the package bubblewrap"):
        require_sandbox()


@needs_sandbox
def test_where_namespaces_are_forbidden_nothing_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refusing = tmp_path / "bwrap"
    refusing.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n"
    )
    refusing.chmod(0o755)
    require_sandbox.cache_clear()
    monkeypatch.setattr(sandbox_module, "_bubblewrap", lambda: (str(refusing),))
    with pytest.raises(ConfigError, match="can't have its sandbox here: bwrap: No permissions"):
        require_sandbox()


@needs_sandbox
@pytest.mark.skipif(os.getuid() != 0, reason="another user can be taken by root only")
def test_another_user_has_the_same_sandbox() -> None:
    require_sandbox.cache_clear()
    mine = sys.version_info[:2]
    names = (sys.executable, f"/usr/bin/python{mine[0]}.{mine[1]}")
    python = next((name for name in names if _may_run(name)), None)
    if python is None:
        pytest.skip("no Python here may be run by other users")
    code = (
        "from tests.east_core.answers.test_sandbox import *\n"
        "for name, given in attempts().items():\n"
        "    print(name, given == REFUSED[name][1])\n"
        "for name in HEAVIEST:\n"
        "    source, limit = STOPPED[name]\n"
        "    print(name, behaviour(source, TESTS, LIMITS).limit == limit)\n"
        "print('right', right())"
    )
    done = _as_nobody(python, "-c", code)
    told = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert told == dict.fromkeys([*REFUSED, *HEAVIEST, "right"], "True"), done.stderr


def _as_nobody(*command: str) -> "subprocess.CompletedProcess[str]":
    path = os.pathsep.join(filter(None, [str(ROOT), *sys.path]))
    return subprocess.run(
        command, user=65534, group=65534, extra_groups=[], cwd="/", env={"PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def _may_run(python: str) -> bool:
    try:
        return _as_nobody(python, "-c", "import pytest").returncode == 0
    except OSError:
        return False

"""A proxy in front of an S3 server that misbehaves on purpose."""

import contextlib
import random
import re
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from east_core.testing.s3_servers import S3Server

Fault = Literal[
    "500",
    "503",
    "denied",
    "no-bucket",
    "reset",
    "truncate",
    "slow",
    "hold",
    "stall",
    "stall-upload",
    "flip",
    "lose-answer",
]
SLOW_SECONDS = 0.4


@dataclass
class FaultyProxy:
    """A TCP proxy for HTTP that fails the requests whose method and path match.

    `times` faults are given (-1: without end); `seen` counts the requests that matched. "slow"
    answers late, "hold" waits for the next `misbehave`, "stall" never answers.
    `drops_conditions` hides If-None-Match from the server, as older servers ignore it.
    """

    target: tuple[str, int]
    fault: Fault | None = None
    matching: str = ".*"
    times: int = -1
    seen: int = 0
    drops_conditions: bool = False
    requests: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)
    changed: threading.Event = field(default_factory=threading.Event)
    endpoint: str = ""

    def misbehave(self, fault: Fault | None, matching: str = ".*", times: int = -1) -> None:
        """From now on, fail `times` requests like "PUT /bucket/key" that match.

        Requests that "hold" keeps waiting are passed on by the next call.
        """
        with self.lock:
            self.changed.set()
            self.changed = threading.Event()
            self.fault, self.matching, self.times, self.seen = fault, matching, times, 0
            self.requests.clear()

    def fault_for(self, request: str) -> Fault | None:
        with self.lock:
            self.requests.append(request)
            if self.fault is None or not re.search(self.matching, request):
                return None
            self.seen += 1
            if self.times == 0:
                return None
            self.times -= 1
            return self.fault


@contextlib.contextmanager
def faulty_proxy(server: S3Server) -> Iterator[FaultyProxy]:
    host, port = server.endpoint.removeprefix("http://").split(":")
    proxy = FaultyProxy((host, int(port)))

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError, EOFError):
                while _exchange(proxy, self.request):
                    pass

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True
        request_queue_size = 64

    with Server(("127.0.0.1", 0), Handler) as listener:
        proxy.endpoint = f"http://127.0.0.1:{listener.server_address[1]}"
        thread = threading.Thread(target=listener.serve_forever, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.closing.set()
            listener.shutdown()
            thread.join(10)


def _exchange(proxy: FaultyProxy, client: socket.socket) -> bool:
    """Pass one request on, and one answer back; False when the connection is over."""
    head, rest = _read_head(client)
    method, path = head.split(b" ", 2)[:2]
    changed = proxy.changed
    fault = proxy.fault_for(f"{method.decode()} {path.decode()}")
    if fault == "stall-upload":
        proxy.closing.wait(120)  # the body is never read
        return False
    if b"100-continue" in head.lower():
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = re.sub(rb"(?i)\r\nexpect: 100-continue", b"", head)
    body = rest + _read_exactly(client, _length(head) - len(rest))
    if fault == "slow":
        time.sleep(SLOW_SECONDS)
    if fault == "hold":
        changed.wait(120)
    if fault in _REFUSALS:
        client.sendall(_refusal(fault))
        return True
    if fault == "reset":
        _reset(client)
        return False
    if fault == "stall":
        proxy.closing.wait(120)
        return False
    if proxy.drops_conditions:
        head = re.sub(rb"(?i)\r\nif-none-match: [^\r]*", b"", head)
    return _answer(proxy, client, head, body, fault)


def _answer(
    proxy: FaultyProxy, client: socket.socket, head: bytes, body: bytes, fault: Fault | None
) -> bool:
    with socket.create_connection(proxy.target, 30) as server:
        server.sendall(re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head) + body)
        reply, rest = _read_head(server)
        length = 0 if head.startswith(b"HEAD") or b" 204 " in reply[:20] else _length(reply)
        data = bytearray(rest + _read_exactly(server, length - len(rest)))
    if fault == "lose-answer":
        _reset(client)
        return False
    if fault == "truncate" and data:
        client.sendall(reply + bytes(data[: len(data) // 2]))
        return False
    if fault == "flip" and data:
        data[random.randrange(len(data))] ^= 0x10
    client.sendall(reply + bytes(data))
    return True


_REFUSALS = {
    "500": ("500 Internal Server Error", "InternalError", "We encountered an internal error."),
    "503": ("503 Slow Down", "SlowDown", "Please reduce your request rate."),
    "denied": ("403 Forbidden", "AccessDenied", "Access Denied"),
    "no-bucket": ("404 Not Found", "NoSuchBucket", "The specified bucket does not exist"),
}


def _refusal(fault: str) -> bytes:
    status, code, text = _REFUSALS[fault]
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{text}</Message></Error>"
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _read_head(connection: socket.socket) -> tuple[bytes, bytes]:
    """An HTTP message's head with its blank line, and what was read of the body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(connection)
    head, _, rest = data.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest


def _read_exactly(connection: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        data += _some(connection)
    return bytes(data)


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(1 << 18)
    if not data:
        raise EOFError("connection closed")
    return data


def _length(head: bytes) -> int:
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if found is None and b"chunked" in head.lower():
        raise EOFError("this proxy does not speak chunked encoding")
    return int(found[1]) if found else 0

"""A Prefect server that belongs to one command: it ends with it, and is started again if it dies.

The command holds the listening socket and the server only accepts from it. So while a killed
server is started again, clients wait for their answer instead of being refused.
"""

import contextlib
import logging
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from flows.server.connection import (
    HOST,
    end_service,
    server_command,
    service_log,
    start_service,
    wait_for_server,
)

LOOK_SECONDS = 0.5
MOST_STARTS = 5
log = logging.getLogger("prefect.east")


@dataclass
class OwnServer:
    """The server's process, and the thread that looks after it."""

    listening: socket.socket
    process: "subprocess.Popen[bytes]" = field(init=False)
    starts: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Start the server on the socket."""
        descriptor = self.listening.fileno()
        self.starts += 1
        self.process = start_service(
            "server", server_command("create_embedded_app", "--fd", descriptor), (descriptor,)
        )

    def look_after(self) -> None:
        """Start the server again whenever it has ended, until it is no longer needed.

        The kernel ends the new one with the thread that started it, which is this one.
        """
        while not self.is_over.wait(LOOK_SECONDS):
            if (status := self.process.poll()) is None:
                continue
            told = f"this command's Prefect server ended (status {status})"
            if self.starts >= MOST_STARTS:
                log.error("%s and is not started again; see %s", told, service_log("server"))
                self.listening.close()  # refuses those who wait, who would wait for ever
                return
            log.warning("%s; it is started again", told)
            self.start()
        end_service(self.process)


@contextlib.contextmanager
def own_server(meanwhile: Callable[[], None] = lambda: None) -> Iterator[str]:
    """The address of a server without UI and schedules, on a free port of loopback.

    `meanwhile` is called while it starts.
    """
    with socket.socket() as listening:
        listening.bind((HOST, 0))
        listening.listen(128)
        url = f"http://{HOST}:{listening.getsockname()[1]}"
        server = OwnServer(listening)
        server.start()
        keeper = threading.Thread(target=server.look_after, name="own server", daemon=True)
        try:
            meanwhile()
            wait_for_server(f"{url}/api/health", server.process)
            keeper.start()
            yield url
        finally:
            server.is_over.set()
            if keeper.ident is not None:
                keeper.join()
            end_service(server.process)

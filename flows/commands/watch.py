"""`east watch`: new questions start a retraining."""

import time

import httpx

from flows.commands.say import say
from flows.server.arrivals import Watcher, start_on_arrival
from flows.server.connection import require_server


def watch_questions(every: float) -> None:
    """Look for new questions every so many seconds, until Ctrl-C.

    Raises EngineError or ConfigError where the server can't be used at the start; one that is away
    later is waited for.
    """
    require_server()
    start_on_arrival()
    watcher = Watcher()
    say(f"watch      the questions of all retraining deployments, every {every:g} s")
    say("stop       Ctrl-C")
    while True:
        try:
            for line in watcher.look():
                say(f"{line}: new questions have arrived")
        except httpx.HTTPError as error:
            say(f"Prefect's server does not answer ({error}); trying again")
        time.sleep(every)

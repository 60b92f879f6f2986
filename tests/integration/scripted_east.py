"""`east`, with a scripted sampler and an instant trainer in place of the engines.

    python tests/integration/scripted_east.py run CONFIG

Everything else is the real thing: stages, records, store, Prefect, the command line's errors.
"""

from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from flows.commands.main import main
from tasks.engines import Engines, use_engines

if __name__ == "__main__":
    with use_engines(Engines(ScriptedSampler(), InstantTrainer())):
        main()

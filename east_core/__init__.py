"""The method: sample, cluster, weigh, train, evaluate. Knows nothing of Prefect.

What others may import stands in `__init__.pyi`, which type checkers read too: `from east_core
import weigh`. Each name is imported when it is first used, so that `import east_core` costs
nothing, and only who asks for a loss needs torch. docs/api.md shows it at work.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

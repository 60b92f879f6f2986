"""A checkpoint goes out: into a folder, and to a server that answers as the hub's API does."""

import base64
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from east_core.config import ModelConfig
from east_core.errors import ConfigError, StoreError
from east_core.inputs.questions import builtin_path
from east_core.reports.model_card import public_name
from east_core.runs.run import Run
from east_core.runs.summary import summarise
from east_core.store import Stage, Store, materialize
from east_core.studies import publishing
from east_core.studies.promotion import Entry, record_entry
from east_core.studies.publishing import parse_target, publish
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from tests.east_core.conftest import finish, sums_config


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run whose checkpoints are the demo's seed model."""
    folder = tmp_path_factory.mktemp("publish")
    shutil.copytree(builtin_path("seed_model"), folder / "seed")
    (folder / "seed" / "skill.json").write_text("0.4")
    card = "---\nlicense: apache-2.0\n---\n# Seed\n"
    (folder / "seed" / "README.md").write_text(card)
    config = sums_config(folder, name="sums", model=ModelConfig(name=str(folder / "seed")))
    run = Run.open(config)
    finish(run, ScriptedSampler(), InstantTrainer())
    (folder / "store" / "sums" / "round-02" / "checkpoint" / "optimizer.pt").write_bytes(b"pickle")
    return run


def published(run: Run, to: str, **changes: Any) -> list[str]:
    asked: dict[str, Any] = {"license_id": None, "with_examples": True, "public": False}
    target = parse_target(to)
    return publish(f"{run.store.root}/sums/round-02", target, **{**asked, **changes})


def metadata(card: str) -> dict[str, Any]:
    return dict(yaml.safe_load(card.split("---\n")[1]))


def test_a_folder_has_the_model_its_card_and_no_pickle(run: Run, tmp_path: Path) -> None:
    told = published(run, str(tmp_path / "out" / "sums-2"))
    assert told == [str(tmp_path / "out" / "sums-2"), str(tmp_path / "out" / "sums-2-examples")]
    files = {path.name for path in (tmp_path / "out" / "sums-2").iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md"} <= files
    assert not [name for name in files if name.endswith((".pt", ".bin", ".pkl"))]
    assert "_record.json" not in files
    card = (tmp_path / "out" / "sums-2" / "README.md").read_text()
    about = metadata(card)
    assert (about["license"], about["library_name"]) == ("apache-2.0", "transformers")
    assert "base_model" not in about  # a folder of ours is no model of the hub's
    score = summarise(run.store, "sums")[2].accuracy["sums"]
    [result] = about["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == round(score.value, 4)
    assert f"**{score.value:.1%}** [{100 * score.low:.1f}, {100 * score.high:.1f}]" in card
    assert "vllm serve ./sums-2" in card
    assert run.store.require("sums/round-02/checkpoint").content in card
    assert str(tmp_path.parent) not in card  # no place of this machine
    assert str(Path(run.config.model.name).parent) not in card


def test_the_examples_are_a_data_set_of_their_own(run: Run, tmp_path: Path) -> None:
    _, examples = published(run, str(tmp_path / "out"))
    import pyarrow.parquet as pq

    [path] = Path(examples).glob(metadata(Path(examples, "README.md").read_text())["configs"][0][
        "data_files"
    ][0]["path"])  # fmt: skip
    table = pq.read_table(path)
    assert table.num_rows == run.store.require("sums/round-02/examples").facts["examples"]
    assert {"prompt", "completion", "weight"} <= set(table.column_names)


def test_what_is_there_already_is_not_written_over(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="there is something already"):
        published(run, str(tmp_path / "out"))
    (tmp_path / "new-examples").mkdir()
    (tmp_path / "new-examples" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="new-examples: there is something already"):
        published(run, str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_checkpoint_that_is_not_there_is_told_in_one_line(run: Run, tmp_path: Path) -> None:
    for url in ("sums/round-09", "none/round-01"):
        with pytest.raises(StoreError, match="no artifact at"):
            publish(
                f"{run.store.root}/{url}", parse_target(str(tmp_path / "out")),
                license_id=None, with_examples=False, public=False,
            )  # fmt: skip


def test_a_line_is_followed_back_to_the_model_that_it_began_with(tmp_path: Path) -> None:
    store, folder = Store(str(tmp_path)), tmp_path / "x"
    for number, (model, action) in enumerate(
        [("org/base", "promoted"), ("/store/line-0001", "kept"), ("/store/line-0001", "kept")], 1
    ):
        name = f"line-{number:04d}"
        settings = {"model": {"name": model}}
        folder.mkdir(exist_ok=True)
        claim = Stage(f"{name}/config", "config")
        materialize(
            store,
            claim,
            lambda f, s=settings: (f / "config.json").write_text(json.dumps(s)) and None,
        )
        champion = "line-0001/round-01/checkpoint"
        if number == 1:
            materialize(store, Stage(champion, "checkpoint"), lambda _: None)
        record_entry(store, "line", Entry(number, action, champion, name, "", {}))  # type: ignore[arg-type]
    assert publishing._base_of(store, "line-0001").name == "org/base"
    assert publishing._base_of(store, "line-0003").name == "org/base"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("/home/me/secret/model", "model"), ("s3://bucket/models/seven/", "seven"),
        ("builtin:seed_model", "builtin:seed_model"), ("hub:org/data", "hub:org/data"),
    ],
)  # fmt: skip
def test_a_card_names_no_place_of_this_machine(name: str, shown: str) -> None:
    assert public_name(name) == shown


@dataclass
class FakeHub:
    """What a hub was given: requests by path, and the files of each repository."""

    url: str = ""
    made: list[dict[str, Any]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    large: dict[str, bytes] = field(default_factory=dict)  # by SHA-256
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def answer(self, path: str, body: bytes) -> Any:
        """The hub's answer to a POST (huggingface.co/docs/hub/api)."""
        if path == "/api/repos/create":
            self.made.append(json.loads(body))
            kind = "datasets/" if self.made[-1]["type"] == "dataset" else ""
            return {
                "url": f"{self.url}/{kind}{self.made[-1]['organization']}/{self.made[-1]['name']}"
            }
        if path == "/api/validate-yaml":
            return {"errors": [], "warnings": []}
        if "/preupload/" in path:
            return {"files": [self._mode(each) for each in json.loads(body)["files"]]}
        if path.endswith("/info/lfs/objects/batch"):
            asked = json.loads(body)["objects"]
            return {"transfer": "basic", "objects": [self._place(each) for each in asked]}
        if "/commit/" in path:
            return self._commit(path.split("/commit/")[0], body)
        raise AssertionError(path)

    def _mode(self, file: dict[str, Any]) -> dict[str, Any]:
        mode = "lfs" if file["path"].endswith((".safetensors", ".parquet")) else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": None}

    def _place(self, each: dict[str, Any]) -> dict[str, Any]:
        upload = {"href": f"{self.url}/upload/{each['oid']}"}
        return {**each, "actions": {"upload": upload}}

    def _commit(self, repo: str, body: bytes) -> dict[str, Any]:
        files = self.files.setdefault(repo.removeprefix("/api/"), {})
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            if line["key"] == "lfsFile":
                files[value["path"]] = self.large[value["oid"]]
        name = repo.removeprefix("/api/").replace("models/", "")
        where = f"{self.url}/{name}/commit/{'0' * 40}"
        return {"success": True, "commitOid": "0" * 40, "commitUrl": where, "hookOutput": ""}


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    """A server on loopback."""
    hub = FakeHub()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hub.tokens.add(self.headers.get("authorization", ""))
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            self._send(json.dumps(hub.answer(self.path.split("?")[0], body)).encode())

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == f"/upload/{hashlib.sha256(body).hexdigest()}"
            hub.large[self.path.split("/")[-1]] = body
            self._send(b"{}")

        def _send(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield hub
    server.shutdown()


def east_publish(run: Run, *options: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """`east publish` of round 2 in a process of its own, as huggingface_hub reads its settings."""
    command = [Path(sys.executable).with_name("east"), "publish"]
    mine = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    return subprocess.run(
        [*command, f"{run.store.root}/sums/round-02", *options], env={**mine, **env},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_the_hub_gets_model_and_examples_in_private_repositories(run: Run, hub: FakeHub) -> None:
    env = {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_of_the_environment", "HF_HUB_DISABLE_XET": "1"}
    done = east_publish(run, "--to", "hub:org/sums", "--examples", **env)
    assert done.returncode == 0, done.stderr
    assert f"published  {hub.url}/org/sums" in done.stdout
    assert "vllm serve org/sums" in done.stdout
    assert hub.tokens == {"Bearer hf_of_the_environment"}
    assert [(each["name"], each["type"], each["visibility"]) for each in hub.made] == [
        ("sums", "model", "private"), ("sums-examples", "dataset", "private"),
    ]  # fmt: skip
    model, examples = hub.files["models/org/sums"], hub.files["datasets/org/sums-examples"]
    weights = run.store.fetch(run.store.require("sums/round-02/checkpoint")) / "model.safetensors"
    assert model["model.safetensors"] == weights.read_bytes()
    assert "optimizer.pt" not in model
    assert "vllm serve org/sums" in model["README.md"].decode()
    assert set(examples) == {"README.md", "data/train-00000-of-00001.parquet"}
    assert b"hf_of_the_environment" not in b"".join(model.values())


def test_without_a_token_or_a_hub_it_is_told_in_one_line(run: Run) -> None:
    env = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_DISABLE_XET": "1"}
    done = east_publish(run, "--to", "hub:org/sums", **env)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "HF_TOKEN is not set" in done.stderr
    done = east_publish(run, "--to", "hub:org/sums", **env, HF_TOKEN="hf_of_the_environment")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "the hub did not take org/sums" in done.stderr
    assert "hf_of_the_environment" not in done.stderr


@pytest.mark.slow
def test_transformers_vllm_and_datasets_open_what_was_published(run: Run, tmp_path: Path) -> None:
    model, examples = published(run, str(tmp_path / "out"))
    opened = """
import sys
import datasets, torch, transformers
model, examples = sys.argv[1:]
tokenizer = transformers.AutoTokenizer.from_pretrained(model)
ids = tokenizer.apply_chat_template(
    [{"role": "user", "content": "1 + 1 = ?"}], add_generation_prompt=True, return_tensors="pt",
    return_dict=True)["input_ids"]
made = transformers.AutoModelForCausalLM.from_pretrained(model).generate(ids, max_new_tokens=4)
assert made.shape[1] > ids.shape[1]
rows = datasets.load_dataset(examples)["train"]
assert len(rows) and abs(sum(rows["weight"]) / len(rows) - 1) < 1e-6
from vllm.config import ModelConfig
config = ModelConfig(model=model)
assert config.architectures, config
print("opened", config.architectures, len(rows))
"""
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", opened, model, examples],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "opened" in done.stdout, done.stderr[-2000:]

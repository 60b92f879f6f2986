"""The report as a browser would take it: parsed, not searched for substrings."""

import dataclasses
import re
from html.parser import HTMLParser

import pytest

from east_core.config import EvaluationRecipe
from east_core.errors import DataError
from east_core.records import Prediction, Question
from east_core.reports.html import choose_solutions, render, write_report_page
from east_core.testing.fakes import ScriptedSampler

HOSTILE = (
    '</pre><script>steal()</script><img src="http://evil.example/x" onerror=go()>{{ 7*7 }}&amp;'
)


class Page(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.links = [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in {"src", "href", "srcset"}]

    def handle_data(self, data):
        self.text += data


class HostileSampler(ScriptedSampler):
    def sample(self, *args):
        for shard in super().sample(*args):
            yield [
                dataclasses.replace(
                    item,
                    completions=tuple(
                        dataclasses.replace(c, text=HOSTILE + c.text) for c in item.completions
                    ),
                )
                for item in shard
            ]


@pytest.fixture(scope="module")
def run(fake_run):
    return fake_run(sampler=HostileSampler(), evaluation=EvaluationRecipe(samples_per_question=2))


def test_what_models_say_is_shown_as_text_and_nothing_is_fetched(run):
    page = Page(render(run.store, "sums"))
    assert "script" not in page.tags
    assert page.tags.count("img") == 6  # five curves and the map of questions
    assert page.links
    assert all(
        link.startswith(("data:image/svg+xml;base64,", "data:image/png;base64,"))
        for link in page.links
    )
    assert HOSTILE in page.text


def test_the_report_tells_the_whole_run(run):
    page = Page(render(run.store, "sums"))
    record = run.record(run.at.checkpoint(2))
    for told in (
        "2 of 2 rounds", "McNemar", "pass@k", "sums by level", "learnt", "no majority",
        "round-02/weights", record.fingerprint[:12], record.content[:12], record.code_version,
        f"torch {record.versions['torch']}", '"samples_per_question": 6', "effective sample size",
    ):  # fmt: skip
        assert told in page.text
    base, last = (run.record(run.at.scores(n, "sums")).facts["accuracy"] for n in (0, 2))
    assert f"{base['value']:.1%}" in page.text
    assert f"{last['value']:.1%}" in page.text


def test_what_greedy_scores_leave_out_is_told(run, fake_run, tmp_path):
    left_out = "Greedy completions only. pass@k and maj@k"
    assert left_out not in Page(render(run.store, "sums")).text
    greedy = fake_run(tmp_path, rounds=1)
    assert left_out in Page(render(greedy.store, "sums")).text


def test_an_unfinished_run_has_a_report_too(fake_run):
    run = fake_run(rounds=1)
    for record in list(run.store.records("sums")):
        if record.address.startswith("sums/round-01"):
            run.store.place.delete([f"{record.address}/_record.json"])
    page = Page(render(run.store, "sums"))
    assert "0 of 1 rounds" in page.text
    assert page.tags.count("img") == 1


def test_the_report_is_one_file_in_the_store_and_may_be_written_again(run):
    url = write_report_page(run.store, "sums")
    assert write_report_page(run.store, "sums") == url
    assert run.store.place.read("sums/report.html").startswith(b"<!doctype html>")
    assert not list(run.store.records("sums/report.html"))


def test_the_content_security_policy_forbids_requests(run):
    policy = re.search(r'content="(default-src [^"]*)"', render(run.store, "sums"))[1]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_no_such_run(run):
    with pytest.raises(DataError, match="no run 'other'"):
        render(run.store, "other")


def test_solutions_are_chosen_by_hash_and_not_by_order():
    questions = [Question(f"q{i}", "?", "1") for i in range(20)]
    before = [Prediction(q.id, "no", None, "1", False) for q in questions]
    after = [Prediction(q.id, "yes", "1", "1", i % 2 == 0) for i, q in enumerate(questions)]
    chosen = choose_solutions(questions, before, after)
    assert {kind: len(some) for kind, some in chosen.items()} == {
        "learnt": 3, "unlearnt": 0, "never solved": 3
    }  # fmt: skip
    assert choose_solutions(questions[::-1], before[::-1], after[::-1]) == chosen
    assert [s.question.id for s in chosen["learnt"]] != ["q0", "q2", "q4"]

import dataclasses
import math

import pyarrow as pa
import pytest
from transformers import AutoTokenizer

from east_core.config import DpoRecipe, KtoRecipe, Resources, SftRecipe
from east_core.engines.trl.data import prepare_data, read_summary, row_lengths, rows_digest
from east_core.errors import DataError, NothingToLearn
from east_core.inputs.questions import builtin_path
from east_core.protocols import IdSources, ModelSource, TrainingJob, example_type
from east_core.records import LabelledExample, PreferencePair, TokenIds, TrainingExample
from east_core.tables import write_table


class LetterTokenizer:
    """One token a character; the template writes '<' before and '>' behind the question."""

    chat_template = "<>"
    bos_token_id = None
    eos_token_id = 0

    def apply_chat_template(self, conversation, **options):
        return "<" + conversation[-1]["content"] + ">"

    def encode(self, text, *, add_special_tokens):
        return [ord(letter) for letter in text]

    def decode(self, token_ids, **options):
        return "".join(map(chr, token_ids))


def ids(text):
    return [ord(letter) for letter in text]


def job_of(tmp_path, recipe, rows, **resources):
    write_table(tmp_path / "rows.parquet", example_type(recipe), rows)
    return TrainingJob(
        model=ModelSource(tmp_path, "model"),
        reference=None,
        examples=[tmp_path / "rows.parquet"],
        recipe=recipe,
        system_prompt=None,
        seed=0,
        resources=Resources(**resources),
        scratch=tmp_path,
    )


def prepared(tmp_path, recipe, rows, **resources):
    job = job_of(tmp_path, recipe, rows, **resources)
    data = prepare_data(job, LetterTokenizer(), tmp_path / "data.arrow")
    assert read_summary(tmp_path / "data.arrow") == data
    table = pa.ipc.open_stream(pa.memory_map(str(tmp_path / "data.arrow"))).read_all()
    return data, table.to_pylist()


def sft_rows(*weights):
    return [TrainingExample(f"q{i}", f"{i}?", "ok", weight) for i, weight in enumerate(weights)]


def test_labels_are_the_completion_and_its_eos(tmp_path):
    data, (row, filler) = prepared(tmp_path, SftRecipe(global_batch_size=1), sft_rows(1.0))
    assert row["input_ids"] == [*ids("<0?>ok"), 0]
    assert row["labels"] == [-100] * 4 + [*ids("ok"), 0]
    assert (row["weight"], row["is_counted"]) == (1.0, True)
    assert set(filler["labels"]) == {-100}
    assert (filler["weight"], filler["is_counted"]) == (0.0, False)
    assert (data.examples, data.dropped_too_long, data.weight_scale) == (1, 0, 1.0)


def test_too_long_examples_are_dropped_counted_and_weights_rescaled(tmp_path):
    rows = [*sft_rows(1.25, 1.5), TrainingExample("long", "?", "x" * 50, 0.25)]
    recipe = SftRecipe(global_batch_size=1, max_length=20)
    data, (*kept, _) = prepared(tmp_path, recipe, rows)
    assert (data.examples, data.dropped_too_long) == (2, 1)
    assert math.fsum(row["weight"] * data.weight_scale for row in kept) / 2 == pytest.approx(1)


def test_the_models_context_is_a_limit_too(tmp_path):
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 20}')
    rows = [*sft_rows(1.0), TrainingExample("long", "?", "x" * 50, 1.0)]
    data, _ = prepared(tmp_path, SftRecipe(global_batch_size=1, max_length=99), rows)
    assert (data.examples, data.dropped_too_long) == (1, 1)


def test_a_pair_is_dropped_when_either_side_is_too_long(tmp_path):
    rows = [
        PreferencePair("a", "?", "good", "bad", 1.0),
        PreferencePair("b", "?", "good", "x" * 50, 1.0),
    ]
    recipe = DpoRecipe(global_batch_size=1, max_length=20)
    data, (row, _) = prepared(tmp_path, recipe, rows)
    assert (data.examples, data.dropped_too_long) == (1, 1)
    assert row["prompt_ids"] == ids("<?>")
    assert (row["chosen_ids"], row["rejected_ids"]) == ([*ids("good"), 0], [*ids("bad"), 0])


def kto_rows():
    return [
        LabelledExample(question, question, f"{question}{side}", side == "+", 1.0)
        for question in "abc"
        for side in "+-"
    ]


def kl_completions(rows):
    return ["".join(map(chr, row["KL_completion_ids"][:-1])) for row in rows[:-1]]


def test_invariant_kl_pairs_never_meet_their_own_question(tmp_path):
    _, rows = prepared(tmp_path, KtoRecipe(global_batch_size=2), kto_rows())
    assert kl_completions(rows) == ["c+", "c-", "a+", "a-", "b+", "b-"]


def test_trl_kl_pairs_turn_within_micro_batches(tmp_path):
    recipe = KtoRecipe(global_batch_size=4, kl="trl")
    _, rows = prepared(tmp_path, recipe, kto_rows(), micro_batch_size=4)
    assert kl_completions(rows) == ["b-", "a+", "a-", "b+", "c-", "c+"]


@pytest.mark.parametrize("weight", [-0.5, math.nan, math.inf])
def test_a_broken_weight_is_refused_by_question(tmp_path, weight):
    with pytest.raises(DataError, match=r"question 'q1' has training weight"):
        prepared(tmp_path, SftRecipe(global_batch_size=1), sft_rows(1.0, weight))


def test_weights_of_another_mean_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"mean 1\.5, not 1"):
        prepared(tmp_path, SftRecipe(global_batch_size=1), sft_rows(1.0, 2.0))


def test_weights_as_they_are_may_have_any_mean_and_are_left_alone(tmp_path):
    recipe = SftRecipe(global_batch_size=1, max_length=20)
    rows = [*sft_rows(0.25, 0.5), TrainingExample("long", "?", "x" * 50, 0.1)]
    job = dataclasses.replace(job_of(tmp_path, recipe, rows), has_mean_one=False)
    data = prepare_data(job, LetterTokenizer(), tmp_path / "data.arrow")
    assert (data.examples, data.dropped_too_long, data.weight_scale) == (2, 1, 1.0)


def test_fewer_examples_than_a_batch_teach_nothing(tmp_path):
    with pytest.raises(NothingToLearn, match="less than one batch of 4"):
        prepared(tmp_path, SftRecipe(global_batch_size=4), sft_rows(1.0, 1.0))


def test_an_empty_pair_list_teaches_nothing(tmp_path):
    with pytest.raises(NothingToLearn, match="0 training examples"):
        prepared(tmp_path, DpoRecipe(global_batch_size=1), [])


def test_only_zero_weights_teach_nothing(tmp_path):
    rows = [*sft_rows(0.0), TrainingExample("long", "?", "x" * 50, 2.0)]
    with pytest.raises(NothingToLearn, match="weight 0"):
        prepared(tmp_path, SftRecipe(global_batch_size=1, max_length=20), rows)


def test_a_rows_length_is_its_longest_sequence(tmp_path):
    prepared(tmp_path, SftRecipe(global_batch_size=2), sft_rows(1.0, 1.0))
    assert row_lengths(tmp_path / "data.arrow") == [7, 7, 2]  # "<0?>ok" and EOS; the filler
    pairs = [PreferencePair(f"q{i}", "?", "short", "much longer"[:i], 1.0) for i in (3, 11)]
    prepared(tmp_path, DpoRecipe(global_batch_size=2), pairs)
    assert row_lengths(tmp_path / "data.arrow") == [9, 15, 2]


PROMPT, END = TokenIds([901, 902]), 7  # ids that no text of these tests encodes to


@pytest.fixture
def ends_in_7(tmp_path):
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [0, 7]}')


@pytest.mark.usefixtures("ends_in_7")
def test_ids_that_were_sampled_are_trained_on_as_they_are(tmp_path):
    sampled = TokenIds([*ids("ok"), 903, END])  # 903: a token that the text does not show
    row = TrainingExample("q", "?", "ok", 1.0, PROMPT, sampled)
    data, (row, _) = prepared(tmp_path, SftRecipe(global_batch_size=1), [row])
    assert row["input_ids"] == [*PROMPT, *sampled]
    assert row["labels"] == [-100, -100, *sampled]
    assert data.ids == IdSources(sampled=1)


@pytest.mark.usefixtures("ends_in_7")
def test_both_sides_of_a_pair_and_kto_examples_are_verbatim_too(tmp_path):
    chosen, rejected = TokenIds([904, END]), TokenIds([905, 0])
    pair = PreferencePair("q", "?", "good", "bad", 1.0, PROMPT, chosen, rejected)
    data, (row, _) = prepared(tmp_path, DpoRecipe(global_batch_size=1), [pair])
    assert (row["prompt_ids"], row["chosen_ids"]) == ([*PROMPT], [*chosen])
    assert row["rejected_ids"] == [*rejected]
    assert data.ids == IdSources(sampled=2)
    one = LabelledExample("q", "?", "good", True, 1.0, PROMPT, chosen)
    data, (row, _) = prepared(tmp_path, KtoRecipe(global_batch_size=1), [one])
    assert (row["prompt_ids"], row["completion_ids"]) == ([*PROMPT], [*chosen])
    assert data.ids == IdSources(sampled=1)


class TurnsEndIn7(LetterTokenizer):
    """The template ends an assistant's turn with id 7 and a line break, as Gemma's does."""

    def apply_chat_template(self, conversation, **options):
        ends = {"user": ">", "assistant": chr(END) + "\n"}
        return "".join(f"<{each['content']}{ends[each['role']]}" for each in conversation)


@pytest.mark.usefixtures("ends_in_7")
def test_what_a_stop_string_ended_gets_the_templates_end_of_turn(tmp_path):
    row = TrainingExample("q", "?", "ok", 1.0, PROMPT, TokenIds([906]))
    job = job_of(tmp_path, SftRecipe(global_batch_size=1), [row])
    data = prepare_data(job, TurnsEndIn7(), tmp_path / "data.arrow")
    assert labels_of(tmp_path)[0] == [-100, -100, 906, END]
    assert data.ids == IdSources(ended=1)


def test_rows_are_the_same_only_where_their_tokens_and_weights_are(tmp_path):
    rows = sft_rows(0.5, 1.5)
    recipe = SftRecipe(global_batch_size=1)
    same = prepared(tmp_path, recipe, rows)[0].digest
    assert prepared(tmp_path, recipe, rows)[0].digest == same
    others = [sft_rows(1.5, 0.5), sft_rows(1.0, 1.0), rows[::-1]]
    digests = {prepared(tmp_path, recipe, other)[0].digest for other in others}
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [0, 7]}')
    ends_elsewhere = prepare_data(
        job_of(tmp_path, recipe, rows), TurnsEndIn7(), tmp_path / "data.arrow"
    )
    assert len({same, *digests, ends_elsewhere.digest}) == 5


def test_a_digest_is_of_the_rows_and_not_of_their_groups(tmp_path):
    data, _ = prepared(tmp_path, SftRecipe(global_batch_size=1), sft_rows(0.5, 1.5))
    table = pa.ipc.open_stream((tmp_path / "data.arrow").read_bytes()).read_all()
    for rows in (1, 2):
        with pa.ipc.new_stream(tmp_path / "other.arrow", table.schema) as writer:
            writer.write_table(table, max_chunksize=rows)
        assert rows_digest(tmp_path / "other.arrow") == data.digest


def labels_of(tmp_path):
    table = pa.ipc.open_stream(pa.memory_map(str(tmp_path / "data.arrow"))).read_all()
    return table["labels"].to_pylist()


def test_a_users_stop_id_is_an_end_too(tmp_path):
    row = TrainingExample("q", "?", "ok", 1.0, PROMPT, TokenIds([906, 8]))
    job = job_of(tmp_path, SftRecipe(global_batch_size=1), [row])
    job = dataclasses.replace(job, stop_token_ids=(8,))
    assert prepare_data(job, LetterTokenizer(), tmp_path / "d.arrow").ids == IdSources(sampled=1)


@pytest.mark.usefixtures("ends_in_7")
def test_text_without_ids_is_encoded_and_ends_as_the_template_says(tmp_path):
    job = job_of(tmp_path, SftRecipe(global_batch_size=1), sft_rows(1.0))
    data = prepare_data(job, TurnsEndIn7(), tmp_path / "data.arrow")
    assert labels_of(tmp_path)[0][-3:] == [*ids("ok"), END]
    assert data.ids == IdSources(encoded=1)


class LosesSharpS(LetterTokenizer):
    """A tokenizer that normalises one letter away."""

    def encode(self, text, *, add_special_tokens):
        return ids(text.replace("ß", "ss"))


def test_text_that_encoding_changes_is_counted_as_drifted(tmp_path):
    rows = [TrainingExample("a", "?", "ok", 1.0), TrainingExample("b", "?", "Maß", 1.0)]
    job = job_of(tmp_path, SftRecipe(global_batch_size=1), rows)
    data = prepare_data(job, LosesSharpS(), tmp_path / "data.arrow")
    assert data.ids == IdSources(encoded=2, drifted=1)


def test_only_completions_that_are_trained_on_are_counted(tmp_path):
    rows = [*sft_rows(1.0), TrainingExample("long", "?", "x" * 50, 1.0)]
    data, _ = prepared(tmp_path, SftRecipe(global_batch_size=1, max_length=20), rows)
    assert data.ids == IdSources(encoded=1)


def test_a_run_begun_before_ids_were_kept_trains_what_it_would_have(tmp_path):
    """The seed model, whose turns end in its tokenizer's EOS: text and EOS, as before."""
    seed = builtin_path("seed_model")
    tokenizer = AutoTokenizer.from_pretrained(seed)
    texts = ["3+4=7\n\\boxed{7}", "Tom has  2 pens.\n\n\\boxed{2}", " so"]
    rows = [TrainingExample(f"q{i}", "2 + 2?", text, 1.0) for i, text in enumerate(texts)]
    job = job_of(tmp_path, SftRecipe(global_batch_size=1), rows)
    job = dataclasses.replace(job, model=ModelSource(seed, "seed"), system_prompt="Think.")
    prepare_data(job, tokenizer, tmp_path / "data.arrow")
    prompt = tokenizer.apply_chat_template(
        [{"role": "system", "content": "Think."}, {"role": "user", "content": "2 + 2?"}],
        add_generation_prompt=True, tokenize=True, return_dict=False,
    )  # fmt: skip
    for text, labels in zip(texts, labels_of(tmp_path), strict=False):
        target = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
        assert labels == [-100] * len(prompt) + target

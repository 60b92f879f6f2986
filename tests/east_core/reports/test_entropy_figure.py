import struct

from east_core.reports.entropy_figure import draw_entropy_figure
from east_core.weighting.weighed import WeighedQuestion


def question(entropy, accuracy, rejected, kept=True):
    return WeighedQuestion(
        "q", 4, (), entropy, accuracy, rejected, None, "1", False, 0, 0, kept, None, 1.0, 1
    )


def test_every_question_is_drawn_as_a_png(tmp_path):
    questions = (question(k / 10, 1 - k / 20, k / 40, kept=k % 3 != 0) for k in range(20))
    path = tmp_path / "figure.png"
    assert draw_entropy_figure(questions, path, title="round 1") == 20
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", data[16:24])
    assert (width, height) == (960, 720)


def test_a_round_without_kept_questions_can_be_drawn(tmp_path):
    assert draw_entropy_figure([], tmp_path / "empty.png") == 0
    assert draw_entropy_figure([question(0, 1, 0, kept=False)], tmp_path / "one.png") == 1

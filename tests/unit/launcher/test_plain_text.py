"""Text from elsewhere on a terminal: it is seen, and does nothing."""

import json

import pytest

from launcher import command_line, plain_text, predictions
from launcher.doctor import report
from launcher.doctor.check import Severity
from launcher.doctor.examination import Result
from launcher.errors import WorkFailed
from launcher.predictions import Prediction, Ranked
from launcher.things import Thing

HOSTILE = [
    "\x1b[2J\x1b[1;31mall is well\x1b]0;title\x07",
    "12 findings\rnone      ",
    "safe\u202egpj.exe\u2066",
    "\x9b31m\x85\x00\x08\x7f",
    "not UTF-8: \udcff",
]
MARKUP = "[red]red[/red] [/] [link=https://example.com]here[/link] :dog: \\"


def is_harmless(text: str) -> bool:
    return all(each.isprintable() or each in "\n\t" for each in text)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_terminal_would_obey_is_seen_instead(text: str) -> None:
    assert is_harmless(plain_text.lines(text))
    assert is_harmless(plain_text.line(text))


def test_what_is_harmless_stays_as_it_is() -> None:
    text = "Grüße, 犬 🐶\n\tFile “a.py”, line 3"

    assert plain_text.lines(text) == text


def test_of_a_log_the_colours_are_left_out() -> None:
    assert plain_text.lines("\x1b[1;31mERROR\x1b[0m: no model") == "ERROR: no model"


@pytest.mark.parametrize("text", HOSTILE)
def test_why_a_script_has_failed_does_nothing_to_the_terminal(
    text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def main() -> int:
        error = WorkFailed(f"its last line: {text}")
        error.add_note(f"go on with {text}")
        raise error

    monkeypatch.setattr("launcher.command_line.signal.signal", lambda *_: None)
    assert command_line.run(main) == 1
    said = capsys.readouterr().err
    assert "its last line: " in said
    assert "go on with " in said
    assert is_harmless(said)


def hostile_results() -> list[Result]:
    """Return results whose every word from outside is hostile."""
    about = ("a-check", "all is well", Severity.ERROR, "mend it", "docs/doctor.md")
    texts = [*HOSTILE, MARKUP]
    return [
        Result(*about, found=texts),
        *(Result(*about, fixed=text) for text in texts),
        *(Result(*about, unjudged=text) for text in texts),
        *(Result(*about, skipped=text) for text in texts),
    ]


def test_the_doctors_report_is_seen_and_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    report.show(hostile_results(), f"{HOSTILE[0]} {MARKUP}")

    shown = capsys.readouterr().out
    assert is_harmless(shown)
    assert shown.count(MARKUP) == 6  # the title, the table, fixed, unjudged, skipped, and the last line


def test_the_doctors_report_for_programs_says_all_of_it_in_ascii() -> None:
    text = report.as_json(hostile_results(), HOSTILE[0])

    assert text.isascii()
    assert "\x1b" not in text
    answer = json.loads(text)
    assert answer["subject"] == HOSTILE[0]
    assert answer["checks"][0]["found"] == [*HOSTILE, MARKUP]


def test_a_table_for_a_pipe_folds_what_is_wider(capsys: pytest.CaptureFixture[str]) -> None:
    name = "/".join(["folder"] * 40)
    about = ("a-check", "all is well", Severity.ERROR, "mend it", "docs/doctor.md")

    report.show([Result(*about, found=[name])], "it")

    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert "".join(row.split("│")[3].strip() for row in rows) == name
    assert {len(row) for row in rows} == {command_line.PAGE_COLUMNS}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_about_to_be_deleted_is_listed_as_it_is_called(name: str) -> None:
    assert is_harmless(str(Thing("alarm", name)))


def test_predictions_are_shown_as_they_are_called(capsys: pytest.CaptureFixture[str]) -> None:
    of = [Prediction("a.jpg", (Ranked("a", "[red]Akita", 0.9),)), Prediction("\x1b[2Jb.jpg", error="[/]")]

    predictions.show(of, "table", top_k=1)

    shown = capsys.readouterr().out
    assert "[red]Akita" in shown
    assert "[/]" in shown
    assert is_harmless(shown)

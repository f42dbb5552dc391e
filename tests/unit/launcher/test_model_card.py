"""A model's card: what it says is the artifact's, whatever its classes are called."""

import hashlib
import itertools
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
import script
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from tiny_artifact import description, write_tiny_artifact

from launcher import artifact, model_card
from launcher.errors import WorkFailed

# What the same artifact with other names has, too.
WELL_FORMED = [
    "Intended use, and limits",
    "Training data",
    "Training",
    "Figures",
    "The weakest classes",
    "Most frequently confused",
    "What it takes and gives",
    "Serve and ask it",
    "Versions",
]
BEGAN = "SHA-256 of the weights that tiny began with"
HOSTILE = [
    "<script>alert(1)</script>",
    "[here](javascript:alert(1))",
    "![](https://example.com/tracker.png)",
    "a | b | c",
    "back\\slash\\|",
    "```\n# heading\n```",
    "---\nlicense: mit\n---",
    '"quoted": [yes',
    "&lt;b&gt; &amp; &#42;",
    "www.example.com https://example.com",
    "\x00\x1b[31mred\u202egnp\u2028line",
    "* _emphasis_ ** $math$ `code`",
    "{{ 7 * 7 }} {% raw %}",
    "",
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """An artifact.json with all that a job puts there, without its digest."""
    content = description(write_tiny_artifact(tmp_path_factory.mktemp("model")))
    trained = {"weights": "image", "weights_sha256": "ab" * 32, "best_epoch": 4, "share": 0.25}
    return content | {
        "backbones": [{"name": "tiny", **trained}],
        "precision": {"chosen": "f32", "accuracy": {"f32": 0.875}, "pictures": 800, "float_layers": []},
        "training_run": {
            "job_name": "dogs-1",
            "hyperparameters": {"epochs": 3, "compile": False, "debug-activations": ""},
            "pictures": {"train": 6720, "valid": 800, "test": 1200},
            "git_revision": "c0ffee",
            "python": "3.11.2",
        },
        "metrics": {"train:loss": 0.1, "validation:loss": 0.49697, "test:accuracy": 0.86833},
    }


def sealed(content: dict[str, Any], names: list[str]) -> bytes:
    """Return the artifact.json of a model with classes of these names, which are their labels as well."""
    card = {
        "pictures": 1200,
        "accuracy": 0.86833,
        "accuracy_interval": {"low": 0.848, "high": 0.8863},
        "top5": 0.98417,
        "per_class": {name: {"accuracy": n % 2 / 2, "pictures": 10} for n, name in enumerate(names)},
        "confusions": [{"truth": names[0], "answer": names[-1], "count": 5, "share": 0.5}],
        "expected_calibration_error": 0.01546,
        "calibration_error_before": 0.09323,
        "temperature": 0.72358,
    }
    classes = [{"name": name, "label": name} for name in names]
    text = json.dumps(content | {"classes": classes, "report_card": card, "sha256": ""}, ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return text.replace('"sha256": ""', f'"sha256": "{digest}"').encode()


def read(card: str) -> tuple[dict[str, Any], list[Token]]:
    """Return a card's head, and the tokens below it."""
    _, head, body = card.split("---\n", 2)
    return yaml.safe_load(head), MarkdownIt().enable("table").parse(body)


def cells(tokens: list[Token]) -> list[list[str]]:
    """Return the texts of all tables' rows."""
    rows: list[list[str]] = []
    for before, token in itertools.pairwise(tokens):
        if before.type == "tr_open":
            rows.append([])
        if before.type in {"td_open", "th_open"}:
            rows[-1].append("".join(child.content for child in token.children or ()))
    return rows


def shown(name: str) -> str:
    """Return a name as a reader sees it: on one line, a mark for what cannot be seen."""
    return "".join(each if each.isprintable() else "\ufffd" for each in " ".join(name.split()))


def test_a_card_says_what_the_artifact_says(whole: dict[str, Any]) -> None:
    text = sealed(whole, ["Akita", "Boxer", "Dingo"])

    card = model_card.write(artifact.read(text))

    head, tokens = read(card)
    assert head["model-index"][0]["name"] == "dogs-1"
    (result,) = head["model-index"][0]["results"]
    figures = {each["type"]: each["value"] for each in result["metrics"]}
    assert figures == {"accuracy": 0.8683, "top_5_accuracy": 0.9842, "expected_calibration_error": 0.0155}
    assert "license" not in head  # nobody has said under which
    rows = cells(tokens)
    assert ["train", "6,720"] in rows
    assert ["compile", "false"] in rows
    assert rows[rows.index(["class", "named right", "of test pictures"]) + 1] == ["Akita", "0.0%", "10"]
    assert ["Akita", "Dingo", "5", "50.0%"] in rows
    assert ["validation:loss", "0.4970", "mean cross-entropy over the valid split"] in rows
    assert ["revision", "c0ffee"] in rows
    assert ["tiny", "25.0%", "a file of the training image", "4"] in rows
    assert [BEGAN, "ab" * 32] in rows
    assert ["model.bin", f"{whole['files']['model.bin']['bytes']:,}"] in rows
    assert not [
        row for row in rows if "train:loss" in row
    ]  # of the last epoch's views, which nobody can compare
    for fact in ("on 800 validation pictures f32 names 87.5% right", "was by 9.3% before", "84.8% to 88.6%"):
        assert fact in card


def test_what_the_artifact_does_not_say_the_card_leaves_out(whole: dict[str, Any]) -> None:
    two = [backbone("one"), backbone("two")]
    bare = whole | {"training_run": {}, "metrics": {}, "precision": {"chosen": "f32"}, "backbones": two}
    text = json.dumps(bare | {"sha256": ""})
    digest = hashlib.sha256(text.encode()).hexdigest()

    card = model_card.write(artifact.read(text.replace('"sha256": ""', f'"sha256": "{digest}"').encode()))

    head, tokens = read(card)
    assert head.keys() == {"pipeline_tag", "library_name", "tags"}
    assert "Affenpinscher, Afghan hound" in card
    assert "None" not in card
    assert "\n# one + two\n" in card  # for want of a job's name
    assert [row[0] for row in cells(tokens)][-2:] == ["what", "SHA-256 of artifact.json"]


def test_a_class_without_test_pictures_is_named_as_unknown(whole: dict[str, Any]) -> None:
    found = artifact.read(sealed(whole, ["Akita", "Boxer"]))
    card = found.report_card
    assert card is not None
    scores = {"Akita": artifact.ClassScore(accuracy=None, pictures=0), "Boxer": card.per_class["Boxer"]}

    text = model_card.write(
        found.model_copy(update={"report_card": card.model_copy(update={"per_class": scores})})
    )

    assert "of which there was no test picture: Akita." in text
    assert ["Boxer", "50.0%", "10"] in cells(read(text)[1])
    assert not [row for row in cells(read(text)[1]) if row[0] == "Akita" and len(row) == 3]


@settings(max_examples=40, deadline=None)
@given(names=st.lists(st.text(max_size=40) | st.sampled_from(HOSTILE), min_size=1, unique=True))
def test_any_set_of_labels_makes_a_card_of_the_same_form(whole: dict[str, Any], names: list[str]) -> None:
    card = model_card.write(artifact.read(sealed(whole | {"backbones": [backbone(names[0])]}, names)))

    head, tokens = read(card)
    assert head["tags"] == ["image-classification", "openvino", shown(names[0])]
    headings = [b.content for a, b in itertools.pairwise(tokens) if a.type == "heading_open"]
    assert headings == ["dogs-1", *WELL_FORMED]
    inline = [child for token in tokens for child in token.children or ()]
    assert not [each for each in [*tokens, *inline] if each.type.startswith(("html", "image"))]
    assert [each.attrs["href"] for each in inline if each.type == "link_open"] == ["#the-weakest-classes"]
    confused = next(row for row in cells(tokens) if row[2:] == ["5", "50.0%"])
    assert confused[:2] == [shown(names[0]), shown(names[-1])]
    assert len([row for row in cells(tokens) if len(row) == 3 and row[2] == "10"]) == min(len(names), 10)


def backbone(name: str) -> dict[str, Any]:
    return {"name": name, "weights": "none", "weights_sha256": None, "best_epoch": 2, "share": 1.0}


@settings(deadline=None)
@given(st.sampled_from(["www.example.com", "see https://example.com/x", "http://a"]))
def test_an_address_in_a_label_becomes_no_link(whole: dict[str, Any], name: str) -> None:
    card = model_card.write(artifact.read(sealed(whole, [name, "Boxer"])))

    # What GitHub takes for an address without being told so.
    assert not re.search(r"www\.|\w://(?!127\.0\.0\.1)", card)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda text: text.replace(b"Boxer", b"Poxer"), "was altered"),
        (lambda text: text.replace(b'"schema_version": 1', b'"schema_version": 2'), "schema_version"),
        (lambda text: text.replace(b'"resize": 256', b'"resize": "256"'), "preprocessing.resize"),
        (lambda text: text.replace(b"0.86833", b"NaN"), "finite number"),
        (lambda text: text[:100], "Invalid JSON"),
        (lambda _: b"\xff\xfe", "Invalid JSON"),
    ],
    ids=["altered", "version", "type", "nan", "cut", "bytes"],
)
def test_a_description_that_is_not_as_it_was_written_gets_no_card(
    whole: dict[str, Any], edit: Any, says: str
) -> None:
    with pytest.raises(WorkFailed, match=says):
        artifact.read(edit(sealed(whole, ["Akita", "Boxer"])))


def test_the_script_writes_the_card_of_a_jobs_folder(tmp_path: Path) -> None:
    model = write_tiny_artifact(tmp_path / "model")
    (tmp_path / "output").mkdir()
    with tarfile.open(tmp_path / "output/model.tar.gz", "w:gz") as archive:
        archive.add(model, arcname=".")  # as `tar -C model .` packs it

    done = script.run("model_card", str(tmp_path), "--output", str(tmp_path / "docs/card.md"))

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "docs/card.md")
    assert read((tmp_path / "docs/card.md").read_text(encoding="utf-8"))[0]["library_name"] == "openvino"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("nope", "nope is no archive and no job's folder here, and whether it is a training job cannot be"),
        ("empty", "empty is no job's folder here: it has no output/model.tar.gz, and whether it is a"),
        ("./nope", "there is no model at nope: train one first"),
    ],
)
def test_a_model_that_is_not_there_says_what_it_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, said: str
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")

    ended = script.run("model_card", model)

    assert (ended.returncode, said in ended.stderr) == (2, True), ended.stderr

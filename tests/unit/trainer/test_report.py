"""The report of a job: one that went well, one that crashed, and files that are not what they should be."""

import csv
import io
import json
import math
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainer import findings
from trainer.findings import Finding, write_findings
from trainer.report import write_report
from trainer.rules import RULES
from trainer.smdebug_support import ModeKeys
from trainer.trial_steps import SavedStep, write_step

CODE = Path(findings.__file__).parent
PHASES = {
    "data wait": 30.0, "copy": 2.0, "forward": 21.0, "backward": 30.0, "optimiser": 3.0, "validation": 8.0,
    "checkpoint": 1.0, "debugger": 1.5, "other": 3.5,
}  # fmt: skip
HEAD = ("head.weight", "head.bias")
HOSTILE = "<script>alert('x')</script> \"$\\frac{1}$\" & " + "x" * 300 + ".jpg"


def epochs_of(count: int, *, shift: float = 0.0) -> list[dict[str, float]]:
    """A training that is at its best one epoch before the last."""
    losses = [3 * math.exp(-0.4 * epoch) + 0.4 for epoch in range(1, count + 1)]
    accuracies = [0.9 - 0.5 * math.exp(-0.5 * epoch) for epoch in range(1, count)] + [0.6]
    return [
        {
            "epoch": epoch, "train:loss": loss, "train:accuracy": accuracy - 0.05,
            "validation:loss": loss + 0.1 + shift, "validation:accuracy": accuracy - shift,
            "train:images_per_second": 812.0, "train:data_wait": 0.3,
        }
        for epoch, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True), start=1)
    ]  # fmt: skip


def leave_job(folder: Path, *, members: Sequence[str] = ("resnet50",), epochs: int = 6) -> None:
    """What a job that went well leaves in its output folder."""
    run = {
        "job_name": "dogs-2026-11-23", "status": "completed", "failure": None, "seconds": 754.2,
        "hyperparameters": {"backbone": ",".join(members), "learning-rate": 0.0295, "epochs": epochs},
        "machine": {"device": "NVIDIA H200", "processor": "x86", "cpus": 16, "memory_gb": 128.0,
                    "processes": 1, "precision": "bfloat16"},
        "versions": {"python": "3.11.9", "torch": "2.14.1", "smdebug": "1.0.34"},
        "git_revision": "0123abc", "pictures": {"train": 6680, "valid": 835, "test": 836}, "classes": 133,
    }  # fmt: skip
    write_json(folder / "run.json", run)
    write_json(
        folder / "history.json",
        {member: epochs_of(epochs, shift=0.02 * place) for place, member in enumerate(members)},
    )
    write_findings(folder, [])
    write_json(folder / "profile.json", profile(members, epochs))
    write_csv(folder / "quarantine.csv", [["file", "reason"]])
    write_json(
        folder / "report_card.json",
        {
            "pictures": 836, "accuracy": 0.853, "accuracy_interval": {"low": 0.827, "high": 0.8754},
            "top5": 0.98,
            "per_class": {"001.Affenpinscher": {"accuracy": 0.375, "pictures": 8},
                          "002.Afghan_hound": {"accuracy": 1.0, "pictures": 8},
                          "003.Airedale_terrier": {"accuracy": None, "pictures": 0}},
            "confusions": [{"truth": "001.Affenpinscher", "answer": "002.Afghan_hound", "count": 5,
                            "share": 0.625}],
            "expected_calibration_error": 0.02, "calibration_error_before": 0.05, "temperature": 1.3,
        },
    )  # fmt: skip


def profile(members: Sequence[str], epochs: int) -> dict[str, Any]:
    """Two minutes on a GPU, with a trace."""
    rng = np.random.default_rng(5)
    seconds = [float(second) for second in range(120)]
    return {
        "phases": PHASES,
        "epochs": [
            {"member": member, "epoch": epoch, "phases": {name: PHASES[name] / epochs for name in PHASES}}
            for member in members
            for epoch in range(1, epochs + 1)
        ],
        "steps": {"count": 1254, "median": 0.0312, "p95": 0.0431,
                  "slowest": [{"step": 17, "seconds": 0.912}]},
        "samples": {
            "seconds": seconds,
            "cpu": rng.uniform(40, 95, 120).tolist(),
            "memory_gb": np.linspace(2, 5.5, 120).tolist(),
            "disk_read_mb": rng.gamma(1, 20, 120).tolist(),
            "disk_write_mb": rng.gamma(1, 2, 120).tolist(),
            "gpu": rng.uniform(60, 99, 120).tolist(),
            "gpu_memory_gb": [11.5] * 120,
        },
        "operators": [
            {"name": f"aten::conv2d_{place}", "cpu_ms": 40.0 / place, "gpu_ms": 90.0 / place, "calls": 9}
            for place in range(1, 13)
        ],
        "trace": "trace.json",
    }  # fmt: skip


def leave_trial(
    folder: Path,
    layers: Sequence[str] = HEAD,
    *,
    steps: int = 24,
    vanish: float = 1.0,
    nan_from: int | None = None,
) -> None:
    """A trial as the debugger writes it: reductions, and an evaluation after every eighth save."""
    rng = np.random.default_rng(7)
    for place in range(steps):
        values: dict[str, Any] = {
            "CrossEntropyLoss_output_0": 3 * math.exp(-place / 9) + rng.normal() / 20 + 0.4
        }
        for depth, layer in enumerate(layers):
            lost = nan_from is not None and place >= nan_from
            gradient = math.nan if lost else 0.02 * vanish**depth * math.exp(rng.normal() / 4)
            for name, norm in (("", 4 + place / 20 + depth), ("gradient/", gradient), ("update/", 0.004)):
                values[f"smdebug/reductions/l2/{name}Classifier_{layer}"] = norm
        save(folder, 10 * place + place // 8, ModeKeys.TRAIN, 10 * place, values)
        if place % 8 == 7:
            evaluation = {"CrossEntropyLoss_output_0": 3 * math.exp(-place / 9) + 0.6}
            save(folder, 10 * (place + 1) + place // 8, ModeKeys.EVAL, place // 8, evaluation)


def save(folder: Path, number: int, mode: Any, mode_step: int, values: Mapping[str, float]) -> None:
    arrays = {name: np.array(value, np.float32) for name, value in values.items()}
    write_step(folder, SavedStep(number, mode, mode_step, arrays))


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def write_csv(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)


class Page(HTMLParser):
    """A page as a reader sees it: its text, and what its elements refer to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.words: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._hidden = False
        self.feed(path.read_text(encoding="utf-8"))
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._hidden = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job's output folder, of one that went well, with its trial in `tensors`."""
    folder = tmp_path / "data"
    folder.mkdir()
    leave_job(folder)
    leave_trial(folder / "tensors")
    return folder


def plots_of(folder: Path) -> set[str]:
    """The names of the pictures beside the page; each one can be decoded, and is not empty."""
    for path in (folder / "report").glob("*.png"):
        colours = Image.open(io.BytesIO(path.read_bytes())).convert("L").getcolors(1 << 24)
        assert colours is not None and len(colours) > 10, path.name
    return {path.stem for path in (folder / "report").glob("*.png")}


def test_a_good_job_has_every_section_and_plot(job: Path) -> None:
    page = Page(write_report(job, job / "tensors"))

    for value in (
        "dogs-2026-11-23", "Completed", "85.9 %", "85.3 %", "82.7 % to 87.5 %", "836 pictures", "13 min",
        "No rule found anything", "Every picture could be read", "31.2 ms", "43.1 ms", "step 17", "912 ms",
        "29.2 ×", "trace.json", "Affenpinscher", "Afghan hound", "NVIDIA H200", "2.14.1", "0.0295", "0123abc",
    ):  # fmt: skip
        assert value in page.text
    assert "missing" not in page.text
    assert plots_of(job) == {
        "loss", "accuracy", "saved_losses", "gradients", "weights", "updates", "phases", "phases_share",
        "utilisation", "operators",
    }  # fmt: skip


def test_the_best_epoch_is_the_one_that_the_job_keeps(job: Path) -> None:
    history = {"resnet50": epochs_of(6)}
    history["resnet50"][2] |= {"validation:accuracy": 0.99}
    write_json(job / "history.json", history)

    assert "best epoch 3 of 6 validation accuracy 99.0 %" in Page(write_report(job, None)).text


def test_the_page_needs_nothing_else(job: Path) -> None:
    page = Page(write_report(job, job / "tensors"))

    sources = [attributes.get("src") or "" for tag, attributes in page.elements if tag == "img"]
    assert len(sources) == len(plots_of(job))
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not [tag for tag, _ in page.elements if tag in ("script", "link", "iframe", "object")]
    assert [attributes["href"] for tag, attributes in page.elements if tag == "a"] == [
        "https://ui.perfetto.dev"
    ]


def test_a_failed_job_says_so_first_and_what_to_do(job: Path) -> None:
    change(job / "run.json", status="failed", failure='File "/opt/ml/code/trainer/engine.py": <no memory>')
    tensor, advice = "gradient/Classifier_head.weight", "Lower learning-rate"
    exploding = Finding("ExplodingTensor", 120, tensor, math.nan, 100.0, "it holds NaN", advice)
    loader = Finding("LoaderBottleneck", None, "data wait", 0.31, 0.2, "data wait is 31 %", "Raise workers")
    write_findings(job, [loader, exploding])
    page = Page(write_report(job, None))

    assert page.text.index("Failed") < page.text.index("<no memory>") < page.text.index("best epoch")
    assert "/opt/ml" not in page.text
    assert "…/engine.py" in page.text
    first = (
        "it holds NaN What to do: Lower learning-rate step 120 · gradient/Classifier_head.weight · value NaN"
    )
    assert first in page.text
    assert page.text.index("threshold 100") < page.text.index(
        "whole run · data wait · value 0.31 · threshold 0.2"
    )
    assert "No rule found" not in page.text


@pytest.mark.parametrize(("rules", "colour"), [([], "completed"), (["Overfit"], "found")])
def test_a_completed_job_is_not_green_above_a_finding(job: Path, rules: list[str], colour: str) -> None:
    write_findings(job, [Finding(rule, 3, "validation:loss", 1.2, 1.1, "it rose", "Stop") for rule in rules])
    page = Page(write_report(job, None))

    classes = [attributes.get("class") or "" for _, attributes in page.elements]
    assert f"status {colour}" in classes
    assert "Completed" in page.text


def test_every_finding_has_its_place_among_the_serious() -> None:
    found = re.findall(r'(?:rule=|Finding\()"(\w+)"', (CODE / "bottlenecks.py").read_text())
    found += re.findall(r'Finding\("(\w+)"', (CODE / "debugger.py").read_text())

    assert {*found, *(rule.__name__ for rule in RULES)} == set(findings._BY_SERIOUSNESS)


def test_names_from_outside_are_only_text(job: Path) -> None:
    rows = [["file", "reason"], [f"train/{HOSTILE}", f"/root/{'y' * 10}/{HOSTILE}"]]
    write_csv(job / "quarantine.csv", rows + [[f"train/{number}.jpg", "truncated"] for number in range(60)])
    change(job / "run.json", job_name=HOSTILE, hyperparameters={HOSTILE: HOSTILE})
    change(job / "history.json", **{HOSTILE: epochs_of(3)})
    leave_trial(job / "hostile", [f"{HOSTILE.replace('/', '')}.weight"])
    page = Page(write_report(job, job / "hostile"))

    assert "script" not in {tag for tag, _ in page.elements}
    assert "<script>alert('x')</script>" in page.text
    assert "61 file(s) cannot be read" in page.text
    assert "train/48.jpg" in page.text
    assert "train/49.jpg" not in page.text
    assert "and 11 more" in page.text
    assert {"loss", "gradients"} <= plots_of(job)
    assert "cannot be shown" not in page.text


def test_members_share_the_curves_and_have_layers_of_their_own(tmp_path: Path) -> None:
    members = ("efficientnet_lite0", "efficientnet_lite1")
    leave_job(tmp_path, members=members)
    for member in members:
        leave_trial(tmp_path / "tensors" / member)
    page = Page(write_report(tmp_path, tmp_path / "tensors"))

    for member in members:
        assert f"Gradient norms by layer, {member}" in page.text
        assert {f"gradients-{member}", f"weights-{member}", f"updates-{member}"} <= plots_of(tmp_path)
    assert {"loss", "saved_losses"} <= plots_of(tmp_path)
    assert "efficientnet_lite1 5 83.9 %" in page.text


def test_norms_are_read_as_they_were_saved(tmp_path: Path) -> None:
    from trainer.report_tensors import read_curves

    names = ("", "gradient/", "update/")
    save(
        tmp_path, 0, ModeKeys.TRAIN, 0, {f"smdebug/reductions/l2/{name}Net_fc.weight": 0.0 for name in names}
    )
    for step, norm in ((1, 2.0), (2, 3.0)):
        values = dict(
            zip(
                (f"smdebug/reductions/l2/{name}Net_fc.weight" for name in names),
                (norm, 0.5, 0.006),
                strict=True,
            )
        )
        save(tmp_path, 10 * step, ModeKeys.TRAIN, 10 * step, {**values, "CrossEntropyLoss_output_0": 1.5})
    save(tmp_path, 28, ModeKeys.EVAL, 0, {"CrossEntropyLoss_output_0": 1.25})
    curves = read_curves(tmp_path, "net")

    assert curves.training == {10: 1.5, 20: 1.5}
    assert curves.validation == {27: 1.25}  # at the epoch's last step, which was not saved
    assert curves.gradients == {"fc.weight": {0: 0.0, 10: 0.5, 20: 0.5}}
    assert curves.growth == {"fc.weight": {0: 0.0, 10: 1.0, 20: 1.5}}
    assert curves.update_ratios["fc.weight"] == pytest.approx({10: 0.003, 20: 0.002})


def test_whole_tensors_have_norms_too(tmp_path: Path) -> None:
    from trainer.report_tensors import read_curves

    whole = {"gradient/Net_fc.weight": np.array([[3, 0], [0, 4]], np.float32)}
    write_step(tmp_path, SavedStep(0, ModeKeys.TRAIN, 0, whole))

    assert read_curves(tmp_path, "net").gradients == {"fc.weight": {0: 5.0}}


def test_a_deep_network_is_a_heat_map_of_few_saves(tmp_path: Path) -> None:
    from trainer.report_tensors import read_curves

    leave_job(tmp_path)
    layers = [f"backbone.layer{number}.weight" for number in range(9)]
    leave_trial(tmp_path / "tensors", layers, steps=130, vanish=0.5, nan_from=120)
    page = Page(write_report(tmp_path, tmp_path / "tensors"))
    curves = read_curves(tmp_path / "tensors", "resnet50")

    assert "The first layer is on top" in page.text
    assert len(curves.training) == 130
    assert [len(norms) for norms in curves.gradients.values()] == [120] * 9
    red = Image.open(tmp_path / "report" / "gradients.png").convert("RGB").getcolors(1 << 24)
    assert red is not None
    assert {colour: count for count, colour in red}.get((0xB3, 0x40, 0x2A), 0) > 1000


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("run.json", "run.json is missing: the job did not write down what it was."),
        ("history.json", "history.json is missing: no epoch was finished, or the job was not watched."),
        ("findings.json", "The rules did not run: findings.json is missing."),
        ("profile.json", "profile.json is missing: the profiler was switched off"),
        ("quarantine.csv", "quarantine.csv is missing: the job ended before the pictures were checked."),
        ("report_card.json", "report_card.json is missing: the job did not get as far as the test split."),
    ],
)
def test_a_missing_file_is_named_and_the_rest_stays(job: Path, file: str, sentence: str) -> None:
    (job / file).unlink()
    page = Page(write_report(job, None))

    assert sentence in page.text
    assert len(plots_of(job)) >= 2


@pytest.mark.parametrize(
    "file", ["run.json", "history.json", "findings.json", "profile.json", "report_card.json"]
)
@pytest.mark.parametrize(
    "content", [None, b"", b"[]", b"\xff\xfe\x00", b"[" * 100_000, b'{"a": 1, "b": [2]}']
)
def test_a_damaged_file_is_a_sentence(job: Path, tmp_path: Path, file: str, content: bytes | None) -> None:
    whole = (job / file).read_bytes()
    folder = tmp_path / "damaged"
    folder.mkdir()
    (folder / file).write_bytes(whole[: len(whole) // 2] if content is None else content)
    page = Page(write_report(folder, None))

    if content != b"[]" or file != "findings.json":  # an empty list is no damage
        assert re.search(
            rf"{re.escape(file)} (is|holds)|cannot be shown|cannot be read|unknown", page.text
        ), page.text
    assert str(tmp_path) not in page.text


def test_values_that_are_no_numbers_are_shown_as_such(job: Path) -> None:
    history = {"resnet50": epochs_of(4)}
    history["resnet50"][3] |= {
        "train:loss": math.nan,
        "validation:loss": math.inf,
        "validation:accuracy": None,
    }  # type: ignore[dict-item]
    write_json(job / "history.json", history)
    change(job / "profile.json", steps={"count": 1, "median": math.nan, "p95": None, "slowest": []})
    page = Page(write_report(job, None))

    assert "best epoch 3 of 4" in page.text
    assert "median unknown" in page.text
    assert "loss" in plots_of(job)


def test_a_damaged_trial_shows_what_is_left(job: Path) -> None:
    events = sorted((job / "tensors").glob("events/*/*"))
    for path in events[:2]:
        path.write_bytes(path.read_bytes()[:50])
    events[2].unlink()
    index = sorted((job / "tensors").glob("index/*/*"))[4]
    index.write_text(index.read_text()[:40])
    page = Page(write_report(job, job / "tensors"))

    assert "4 file(s) of the saved tensors cannot be read" in page.text
    assert {"saved_losses", "gradients"} <= plots_of(job)


@pytest.mark.parametrize("left", [False, True])
def test_a_trial_that_never_began_does_not_keep_the_job(job: Path, tmp_path: Path, left: bool) -> None:
    tensors = tmp_path / "other"
    if left:
        (tensors / "collections" / "000000000").mkdir(parents=True)
    page = Page(write_report(job, tensors))

    assert "the job ended before the debugger's first save" in page.text


def test_a_job_that_left_nothing_has_a_report(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path, None))

    assert "How the job ended is not known" in page.text
    assert "No tensors were saved: the debugger was switched off." in page.text
    assert plots_of(tmp_path) == set()


def test_a_second_report_replaces_the_first(job: Path) -> None:
    write_report(job, job / "tensors")
    (job / "profile.json").unlink()
    write_report(job, None)

    assert plots_of(job) == {"loss", "accuracy"}


def test_a_report_that_cannot_be_written_leaves_the_one_before(job: Path) -> None:
    page = write_report(job, None)
    before = page.read_bytes()
    (page.parent / "loss.png").unlink()
    (page.parent / "loss.png").mkdir()  # in the way of the new one

    with pytest.raises(OSError, match=r"loss\.png"):
        write_report(job, None)
    assert page.read_bytes() == before


def test_without_tensors_smdebug_is_not_imported(job: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "sys.modules['smdebug'] = None  # not installed\n"
        "from trainer.report import write_report\n"
        "assert 'matplotlib' not in sys.modules\n"
        "page = write_report(Path(sys.argv[1]), None)\n"
        "assert 'switched off' in page.read_text(encoding='utf-8')\n"
        "page = write_report(Path(sys.argv[1]), Path(sys.argv[1]) / 'tensors')\n"
        "assert 'The saved tensors cannot be read' in page.read_text(encoding='utf-8')\n"
    )
    subprocess.run([sys.executable, "-c", program, str(job)], check=True)


def change(path: Path, **values: object) -> None:
    """Set entries of a JSON file."""
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **values})

"""The guided tour: it runs from top to bottom, and what the repository has of it is fit to be read.

On few drawings, with processes; tests/aws runs it with all of them, and on AWS.
"""

import io
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from executed import code_cells, shows_pictures, text_of
from PIL import Image

import drawn
from launcher import notebook
from launcher.errors import SettingsError
from launcher.predictions import Explanation, Prediction, Ranked
from launcher.tour import answers, plots

ROOT = Path(__file__).parents[3]
MAX_BYTES = 1_500_000


@pytest.fixture(scope="module")
def committed() -> Any:
    """The notebook as it is in the repository."""
    return notebook.read(ROOT / "train_and_deploy.ipynb")


def test_it_runs_from_top_to_bottom_on_this_machine(
    committed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = nbformat.from_dict(committed)
    for name in ("WHERE", "BACKBONE"):
        monkeypatch.delenv(name, raising=False)
    data = drawn.few(tmp_path / "dogs", 4)
    for name, value in {"BACKEND": "process", "DATA": str(data), "TRIALS": "2"}.items():
        monkeypatch.setenv(name, value)

    notebook.execute(book, tmp_path)

    said = text_of(book)
    assert "12 classes, 48 train, 48 valid, 48 test files" in said
    assert "48 pictures asked of both best and defaults" in said
    assert "removing both endpoints" in said
    (predictions,) = tmp_path.glob("runs/*/predictions.csv")
    assert len(predictions.read_text().splitlines()) == 1 + 48
    assert shows_pictures(book)


@pytest.mark.parametrize("where", ["AWS", "there"])
def test_a_place_that_it_does_not_know_is_refused_in_its_first_cell(
    committed: Any, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHERE", where)

    with pytest.raises(SettingsError, match=f'WHERE is "{where}": it has to be "here" or "aws"'):
        exec(code_cells(committed)[0].source, {})  # noqa: S102 - of this repository


def test_the_committed_one_was_run_in_order_without_an_error_or_a_warning(committed: Any) -> None:
    cells = code_cells(committed)

    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [each for each in outputs if each.output_type == "error" or each.get("name") == "stderr"]
    assert sum(any("image/png" in each.get("data", {}) for each in cell.outputs) for cell in cells) >= 6


def test_the_committed_one_has_no_photograph_no_path_of_a_machine_and_a_reasonable_size(
    committed: Any,
) -> None:
    for cell in code_cells(committed):
        if notebook.PHOTOGRAPHS in cell.metadata.get("tags", []):
            assert not [kind for each in cell.outputs for kind in each.get("data", {}) if "image" in kind]
            assert "not kept in the repository" in text_of(nbformat.v4.new_notebook(cells=[cell]))
    assert not re.search(r"(?<![\w.])/(work|home|root|tmp|Users)/", text_of(committed))
    assert (ROOT / "train_and_deploy.ipynb").stat().st_size < MAX_BYTES


def test_photographs_are_left_out_and_paths_are_those_of_the_checkout() -> None:
    cell = nbformat.v4.new_code_cell("show()", metadata={"tags": [notebook.PHOTOGRAPHS]})
    data = {"image/png": "iVBORw0KGgo=", "text/plain": "[a dog]"}
    stream = nbformat.v4.new_output("stream", text="/home/me/house/runs/a, of /home/me/dogs\n")
    cell.outputs = [nbformat.v4.new_output("display_data", data=data), stream]
    book = nbformat.v4.new_notebook(cells=[cell])

    notebook.make_presentable(book, Path("/home/me/house"))

    shown, said = book.cells[0].outputs
    assert shown.data == {"text/plain": "[a dog]"}
    assert said.text == "runs/a, of ../dogs\n"


def test_answers_are_drawn_with_and_without_their_photographs(tmp_path: Path) -> None:
    file = tmp_path / "dog.jpg"
    Image.new("RGB", (60, 40), (200, 30, 30)).save(file)
    heat = Explanation([[0.0, 1.0], [2.0, -1.0]], (10, 0, 50, 40))
    found = Prediction(str(file), (Ranked("109.Tibetan_mastiff", "Tibetan mastiff", 0.9),), explanation=heat)
    labels = {"109.Tibetan_mastiff": "Tibetan mastiff"}

    with_picture, alone = (
        answers([found], {file: "109.Tibetan_mastiff"}, labels, pictures=each) for each in (True, False)
    )

    assert all(each.png.startswith(b"\x89PNG") for each in (with_picture, alone))
    assert with_picture.png != alone.png
    left_out = "not kept in the repository; run this cell to see them"
    assert repr(with_picture) == f"[photographs with heat maps of Tibetan mastiff: {left_out}]"
    assert repr(alone) == "charts: Tibetan mastiff"


def test_plots_stand_beside_each_other_where_they_fit(tmp_path: Path) -> None:
    for name, size in {"loss": (900, 500), "accuracy": (900, 400), "utilisation": (1800, 100)}.items():
        Image.new("RGB", size).save(tmp_path / f"{name}.png")

    shown = plots(tmp_path, "loss", "accuracy", "weights", "utilisation")

    assert repr(shown) == "charts: loss, accuracy, utilisation"
    assert Image.open(io.BytesIO(shown.png)).size == (1080, 300 + 60)

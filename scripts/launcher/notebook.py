"""The guided tour, executed from top to bottom, and its outputs as the repository may have them.

Called by run_notebook.py and by the tests.
"""

from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from launcher.errors import SettingsError

FILE = Path(__file__).resolve().parents[2] / "train_and_deploy.ipynb"
PHOTOGRAPHS = "photographs"  # the tag of cells whose pictures are not to be kept
CELL_SECONDS = 3600


def read(file: Path) -> Any:
    """Return a notebook; raises SettingsError where there is none."""
    try:
        return nbformat.read(file, as_version=4)
    except (OSError, ValueError) as error:
        raise SettingsError(f"the notebook {file} cannot be read: {error}") from None


def execute(book: Any, folder: Path) -> None:
    """Run all cells in a folder, the outputs of before replaced; raises CellExecutionError."""
    client = NotebookClient(
        book,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()


def make_presentable(book: Any, root: Path) -> None:
    """Leave out the photographs, and name files as they are seen from the checkout at `root`."""
    for cell in (cell for cell in book.cells if cell.cell_type == "code"):
        for output in cell.outputs:
            data = output.get("data", {})
            if PHOTOGRAPHS in cell.metadata.get("tags", []):
                for kind in [kind for kind in data if kind.startswith("image/")]:
                    del data[kind]
            for kind in ("text/plain", "text/html"):
                if kind in data:
                    data[kind] = _from(root, data[kind])
            if "text" in output:
                output.text = _from(root, output.text)


def _from(root: Path, text: str) -> str:
    above = "" if root.parent == Path("/") else f"{root.parent}/"
    text = text.replace(f"{root}/", "")
    return text.replace(above, "../") if above else text

"""What a notebook's cells hold and say, for the tests of train_and_deploy.ipynb, here and on AWS."""

from typing import Any

from launcher import notebook


def code_cells(book: Any) -> list[Any]:
    return [cell for cell in book.cells if cell.cell_type == "code"]


def text_of(book: Any) -> str:
    """All that its outputs say."""
    outputs = [output for cell in code_cells(book) for output in cell.outputs]
    parts = [
        str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", "")) for output in outputs
    ]
    return "\n".join(parts)


def shows_pictures(book: Any) -> bool:
    """Tell whether every cell that is to show photographs has shown some."""
    cells = [cell for cell in code_cells(book) if notebook.PHOTOGRAPHS in cell.metadata.get("tags", [])]
    return all(any("image/png" in each.get("data", {}) for each in cell.outputs) for cell in cells)

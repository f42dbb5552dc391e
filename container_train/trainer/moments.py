"""How large the numbers were that a backbone took when it computed a table's features: noted beside them.

Pictures that were not normalised leave features like any others; only what went in tells. It is taken by
`trainer.extraction`, kept by `trainer.features`, and judged by the rule `InputsNotNormalised`, also in a job
that finds all features in the cache.
"""

import json
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

FILE = "inputs.json"
Rows = npt.NDArray[np.float64]  # (n, 2): mean and mean square of each of n inputs


@dataclass(frozen=True)
class Moments:
    """Mean and mean square of the numbers in so many pictures, as a network took them."""

    pictures: int
    mean: float
    square: float

    @property
    def deviation(self) -> float:
        """The standard deviation."""
        return math.sqrt(max(0.0, self.square - self.mean**2))

    def with_rows(self, rows: Rows) -> "Moments":
        """Of these pictures and more."""
        pictures = self.pictures + len(rows)
        mean, square = (rows.sum(0) + self.pictures * np.array([self.mean, self.square])) / max(1, pictures)
        return Moments(pictures, float(mean), float(square))

    def as_text(self) -> str:
        """The content of `inputs.json`."""
        return json.dumps(asdict(self)) + "\n"


def rows_of(inputs: Tensor) -> Rows:
    """The moments of each of n inputs (n, …)."""
    flat = inputs.detach().flatten(1).double()
    rows: Rows = torch.stack([flat.mean(1), flat.square().mean(1)], 1).cpu().numpy()
    return rows


def read_moments(folder: Path) -> Moments | None:
    """What was noted there; `None` where nothing was, and with a warning where it is damaged."""
    file = folder / FILE
    try:
        return Moments(**json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, TypeError, ValueError) as error:
        print(f"warning: {file} is left out: {error}", file=sys.stderr, flush=True)
        return None

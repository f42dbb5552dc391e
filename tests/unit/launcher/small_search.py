"""A search whose trials train nothing and take a second: what several tests carry out.

What a trial does follows from its batch size, so that a list of batch sizes is a list of fates.
"""

from pathlib import Path
from typing import Any

from launcher import requests, search, tuning_request
from launcher.process_backend import ProcessBackend
from launcher.requests import Request
from trainer.metrics import metric_definitions

PROGRAM = """
import argparse, math, os, sys, time

parser = argparse.ArgumentParser()
for name in ("learning-rate", "batch-size", "epochs"):
    parser.add_argument("--" + name, type=float, default=1)
given = parser.parse_args()
fate = int(given.batch_size)
goal = 0.9 - (math.log10(given.learning_rate) + 2) ** 2 / 10
for epoch in range(1, int(given.epochs) + 1):
    time.sleep(float(os.environ.get("PAUSE", "0")))
    if fate == 32:
        raise ValueError("thirty-two is too much for me")
    if fate != 128:
        value = math.nan if fate == 64 else 0.1 if fate == 8 else goal - 0.05 / epoch
        sys.stdout.write(f"[metrics] epoch={epoch} validation:accuracy={value:.6g}\\n")
        sys.stdout.flush()
with open(os.path.join(os.environ["SM_OUTPUT_DATA_DIR"], "result.json"), "w") as stream:
    stream.write(os.environ.get("TRAINER_PARALLEL_JOBS", ""))
"""
LEARNING_RATE = {"learning-rate": {"continuous": [0.001, 0.1], "scale": "Logarithmic"}}
FATES = {"batch-size": {"categorical": [16, 32, 64, 128]}}


def request(
    tmp_path: Path, name: str = "search", *, pause: float = 0, epochs: int = 2, **settings: Any
) -> Request:
    """A search over the program above, with the file's settings given here."""
    training = requests.training_job(
        name=name,
        image="not used",
        channels={"training": tmp_path.as_uri()},
        hyperparameters={"epochs": epochs},
        metric_definitions=metric_definitions(),
        output_uri=tmp_path.as_uri(),
        environment={"USE_SMDEBUG": "0", "PAUSE": str(pause)},
    )
    settings = {"strategy": "Random", "ranges": LEARNING_RATE, "early-stopping": "Off", **settings}
    return tuning_request.tuning_job(name, search.Search.model_validate(settings), training)


def backend(tmp_path: Path) -> ProcessBackend:
    """The real toolkit, over the program above."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code/hpo.py").write_text(PROGRAM)
    return ProcessBackend(code=tmp_path / "code")

"""Offline inference with a job's model: the command that runs `predict` here. Called by `predict.py`."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher.errors import SettingsError

EXPLANATIONS = "/explanations"  # in the container
PREDICT = Path(__file__).resolve().parents[2] / "container_serve/predict.py"


def predict_command(
    backend: str,
    *,
    image: str,
    job: Path,
    paths: Sequence[Path],
    options: Sequence[str],
    terminal: bool,
    explain: Path | None = None,
) -> list[str]:
    """Return the command that answers `paths` with the model of a job's folder; `explain` is for overlays.

    In a container there is no network, and each path is mounted read-only below /data. Raises SettingsError
    for a job without a model and for a path that does not exist: the engine would make folders of them.
    """
    model = job.resolve() / "model"
    if not (model / "artifact.json").is_file():
        raise SettingsError(f"there is no model in {model}: train one first (make train), or name a job")
    if missing := [path for path in paths if not path.exists()]:
        raise SettingsError(f"{missing[0]} does not exist")
    if backend == "process":
        options = [*options, *(["--explain", str(explain)] if explain else [])]
        return [sys.executable, str(PREDICT), "--model-dir", str(model), *options, *map(str, paths)]
    sources = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100 - keeps a link's own name
    engine = os.environ.get("DOCKER", "docker")
    command = [engine, "run", "--rm", "--network", "none", *mount(model, "/opt/ml/model")]
    for source in sources:
        command += mount(source, f"/data{source}")
    command += ["--tty"] if terminal else []
    if explain:
        explain.mkdir(parents=True, exist_ok=True)  # by its owner: the engine would make it root's
        command += ["--user", f"{os.getuid()}:{os.getgid()}"]
        command += mount(explain.resolve(), EXPLANATIONS, read_only=False)
        options = [*options, "--explain", EXPLANATIONS]
    return [*command, image, "predict", *options, *(f"/data{source}" for source in sources)]


def mount(source: Path, target: str, *, read_only: bool = True) -> list[str]:
    """Return a mount as `docker run` takes it: comma-separated, with CSV's quotes."""
    fields = ["type=bind", f"source={source}", f"target={target}", *(["readonly"] if read_only else [])]
    return ["--mount", ",".join('"' + field.replace('"', '""') + '"' for field in fields)]

"""A model's card, in the form of Hugging Face's: Markdown below a head in YAML, from its artifact.json alone.

Called by scripts/model_card.py. What the artifact does not say, such as a licence, the card does not say
either. Names come from folders and archives that may be anybody's: whatever the template prints is text, and
nothing in it is taken for Markdown, HTML or YAML.
https://huggingface.co/docs/hub/model-cards
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import jinja2
from markupsafe import Markup

from launcher import plain_text
from launcher.artifact import Artifact, ClassScore
from trainer.metrics import METRICS

WEAKEST = 10  # classes that are shown
# What the contract's words for the origin of weights mean.
ORIGINS = {
    "channel": "a file given to the job",
    "image": "a file of the training image",
    "download": "a download",
    "none": "random numbers",
}
_SPECIAL = re.compile(r"[\\`*_{}\[\]#!~$@]|:(?=/)|(?<=www)\.", re.IGNORECASE)  # addresses become links
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;"})


def write(artifact: Artifact) -> str:
    """Return the card of a model."""
    card = artifact.report_card
    scores = card.per_class if card else {}
    return _TEMPLATE.render(
        artifact=artifact,
        name=artifact.training_run.job_name or " + ".join(each.name for each in artifact.backbones),
        labels={each.name: each.label for each in artifact.classes},
        card=card,
        weakest=_weakest(scores),
        unseen=[name for name, score in scores.items() if not score.pictures],
        figures=list(_figures(artifact)),
        origins=ORIGINS,
    )


def _weakest(scores: Mapping[str, ClassScore]) -> list[tuple[str, float, int]]:
    """Return name, accuracy and number of pictures of the classes that are named right least often."""
    known = [
        (name, each.accuracy, each.pictures) for name, each in scores.items() if each.accuracy is not None
    ]
    return sorted(known, key=lambda each: each[1])[:WEAKEST]


def _figures(artifact: Artifact) -> Iterator[tuple[str, str, str]]:
    """Yield what was measured on validation and test: name, value, and what it is."""
    for metric in METRICS:
        value = artifact.metrics.get(metric.name)
        if value is not None and metric.name.startswith(("validation:", "test:")):
            shown = f"{value:.4f}" if metric.name.endswith(":loss") else _percent(value)
            yield metric.name, shown, metric.meaning


# ── what the template writes ──────────────────────────────────────────────────────────────────────────


def _text(value: object) -> object:
    """Escape all that Markdown or HTML would take for more than text."""
    if isinstance(value, Markup):
        return value
    return _SPECIAL.sub(r"\\\g<0>", plain_text.line(value)).translate(_ENTITIES)


def _quoted(value: object) -> Markup:
    """Return a string of YAML, which JSON's are as well."""
    return Markup(json.dumps(plain_text.line(value), ensure_ascii=False))  # noqa: S704 - for the head, which is no HTML


def _percent(value: float) -> str:
    return f"{value:.1%}"


_ENVIRONMENT = jinja2.Environment(
    autoescape=False,  # noqa: S701 - `finalize` escapes, for Markdown and for HTML
    finalize=_text,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)
_ENVIRONMENT.filters |= {"quoted": _quoted, "percent": _percent}
_TEMPLATE = _ENVIRONMENT.from_string(Path(__file__).with_suffix(".md").read_text(encoding="utf-8"))

"""Photographs on this machine, as the checks below `files` ask for them: each is looked into once."""

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from launcher import command_line, data_check, datasets
from launcher.doctor.check import NotApplicable
from launcher.errors import WorkFailed
from trainer import config

MAX_UNREADABLE = config.Hyperparameters.max_unreadable  # a job's own limit, unless it is told another

_FOUND = re.compile(r"^left out \d|\(see duplicates\.csv\)$")  # of what is said, what is a finding here
_REPORT = re.compile(r" \(see \w+\.csv\)$")  # which is gone by then


@dataclass(frozen=True)
class Seen:
    """What a training job's own look into every picture has found.

    `copies` are the pictures of each other split that are also in train, `contradictory` the contents that
    stand in several classes; `refused` is why a job would not train on them, "" where it would.
    """

    unreadable: frozenset[str]
    copies: Mapping[str, int]
    contradictory: int
    refused: str


@dataclass(frozen=True)
class Photographs:
    """A folder of photographs, and what looks into them."""

    folder: Path
    backend: str
    image: str

    def look(self) -> Seen:
        """Look into every picture.

        Raises NotApplicable where the folders are not as they have to be, and WorkFailed where nothing looks.
        """
        try:
            datasets.read_image_folder(self.folder)
        except datasets.DatasetError:
            raise NotApplicable("the folders are not as they have to be") from None
        if isinstance(self._seen, WorkFailed):
            raise self._seen
        return self._seen

    @property
    def seen(self) -> Seen:
        """What was seen in the pictures; raises NotApplicable where nothing was."""
        try:
            return self.look()
        except WorkFailed:
            raise NotApplicable("nothing has looked into the pictures") from None

    @cached_property
    def _seen(self) -> Seen | WorkFailed:
        with tempfile.TemporaryDirectory(prefix="doctor-") as folder:
            reports = Path(folder)
            failure, said = self._check(reports)
            if failure and not (reports / data_check.CLASSES).exists():  # it ended before it had looked
                return WorkFailed("\n".join([*said, failure]))
            *remarks, reason = said if failure else [*said, ""]
            for remark in remarks:
                if not _FOUND.search(remark):
                    command_line.tell(_REPORT.sub("", remark))
            return Seen(
                data_check.unreadable(reports),
                data_check.copies(reports),
                data_check.contradictory(reports),
                reason.removeprefix("error: "),
            )

    def _check(self, reports: Path) -> tuple[str, list[str]]:
        """Have the reports written; returns how it failed, or "", and what was said meanwhile."""
        failure = ""
        with (reports / "printed").open("w") as printed, (reports / "said").open("w") as said:
            try:
                data_check.check(
                    self.backend,
                    image=self.image,
                    data=self.folder,
                    reports=reports,
                    max_unreadable=MAX_UNREADABLE,
                    stdout=printed,
                    stderr=said,
                )
            except WorkFailed as error:
                failure = str(error)
        return failure, (reports / "said").read_text(encoding="utf-8", errors="replace").splitlines()

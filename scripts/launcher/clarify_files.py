"""The files of a SageMaker Clarify job: the photographs that it is to explain, and what it has found.

Called by `explain.py`.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from launcher import command_line, pictures, s3_upload
from launcher.account import Account
from launcher.aws_model_job import NothingLeftError
from launcher.clarify_requests import FORMATS
from launcher.errors import SettingsError, WorkFailed
from launcher.requests import Request
from launcher.s3 import Prefix


def photographs(places: Sequence[str], form: str) -> dict[str, Path]:
    """Return the photographs of this machine by their names below the folder that all are in.

    Raises SettingsError for one of another format than `form`: a job takes a single one.
    """
    found = [file.absolute() for file in pictures.find([Path(place) for place in places])]
    for file in found:
        if file.suffix.lower() not in FORMATS[form][1]:
            fitting = next((name for name, (_, ends) in FORMATS.items() if file.suffix.lower() in ends), "")
            help_ = f"--format {fitting} explains those" if fitting else "Clarify reads JPEG and PNG alone"
            raise SettingsError(f"{file} is no {form.upper()}, and a job takes one format: {help_}")
    common = Path(os.path.commonpath([file.parent for file in found]))
    return {file.relative_to(common).as_posix(): file for file in found}


@contextmanager
def kept(files: Mapping[str, Path], uri: str) -> Iterator[None]:
    """Say of whatever ends the sending, or the starting of the job, where photographs may be left."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, SettingsError, WorkFailed) as ending:
        if files:
            ending.add_note(f"what has arrived of the photographs stays in {uri}")
        raise


def send(files: Mapping[str, Path], uri: str, configuration: Request, account: Account) -> None:
    """Bring photographs below a URI, and the configuration (a PutObject request) to its place."""
    prefix = Prefix(uri, account.client("s3"))
    extra = s3_upload.encryption(account.settings.storage.kms_key)
    for name in command_line.progress(files, total=len(files), what="sending the photographs"):
        prefix.write(name, files[name].read_bytes(), extra)
    place, _, name = configuration["Key"].rpartition("/")
    Prefix(account.uri(place), prefix.client).write(name, configuration["Body"].encode(), extra)


def fetch(description: Mapping[str, Any], folder: Path, account: Account, say: Callable[[str], None]) -> None:
    """Bring what a finished job has found to a folder, and say what it is.

    Raises NothingLeftError, and as S3 refuses.
    """
    (output,) = description["ProcessingOutputConfig"]["Outputs"]
    prefix = Prefix(output["S3Output"]["S3Uri"], account.client("s3"))
    found = prefix.files()
    if not found:
        raise NothingLeftError(f"the job has left nothing in {prefix.uri}")
    prefix.fetch(found, folder)
    maps = [name for name in found if Path(name).suffix.lower() in pictures.SUFFIXES]
    say(f"{len(maps):,} heat maps: blue speaks for the breed, red against it")
    for name in sorted(found.keys() - set(maps)):
        if "/" not in name:
            say(f"{folder / name}")

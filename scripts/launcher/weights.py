"""ResNet50's ImageNet weights, fetched into the checkout so that they can be built into the training image.

Called by `fetch_weights.py` (`make weights`). torchvision names its files by the beginning of their SHA-256,
which is what the file is checked against.
"""

import re
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from launcher.downloads import DownloadError, Expected, download, require_answer, sha256_of
from launcher.folders import exclusive

RESNET50_URL = "https://download.pytorch.org/models/resnet50-11ad3fa6.pth"


def expected_of(url: str) -> Expected:
    """Return what the name says of the content; raise DownloadError when it has no digest in it."""
    name = PurePosixPath(urlsplit(url).path).name
    match = re.fullmatch(r"[\w.]+-([0-9a-f]{8,64})\.pth", name)
    if match is None:
        raise DownloadError(
            f"{url}: the name of a weights file has to be <backbone>-<start of its SHA-256>.pth"
        )
    return Expected(sha256=match[1])


def fetch_weights(
    url: str, folder: Path, *, patience: float | None = None, pause_seconds: float = 1.0
) -> tuple[Path, bool]:
    """Make the folder hold the weights file; return its path and whether it had to be fetched.

    With `patience`, a server that gives no answer in so many seconds is given up (for who can do without).
    A file that is there but damaged is fetched again. Raises downloads.DownloadError or folders.SpaceError.
    """
    expected = expected_of(url)
    file = folder / PurePosixPath(urlsplit(url).path).name
    with exclusive(folder):
        if file.exists() and sha256_of(file).startswith(expected.sha256):
            return file, False
        if patience is not None:
            require_answer(url, patience)
        download(url, file, expected=expected, pause_seconds=pause_seconds)
        return file, True

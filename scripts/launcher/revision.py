"""The revision that the images are built from: their tag in ECR, unless the settings name one.

Called by `account` and `ecr`. A commit that changes nothing in the images is no other revision of them: what
was pushed stays what jobs take.
"""

import subprocess
from pathlib import Path

from launcher.errors import SettingsError

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("container_train", "container_serve", "docker")
LABEL = "org.opencontainers.image.revision"  # docker/build.sh writes it
_LENGTH = 12


def of_images(checkout: Path = ROOT) -> str:
    """Return the last commit that changed an image; raises SettingsError outside a git checkout."""
    found = _git(checkout, "log", "-1", "--format=%H", "--", *SOURCES)
    if found.returncode or not found.stdout.strip():
        raise SettingsError(
            "images.tag in the settings is empty, and this is no git checkout whose revision would be "
            f"the tag: set it ({found.stderr.strip() or checkout})"
        )
    return found.stdout.strip()[:_LENGTH]


def check(image: str, built_from: str | None, checkout: Path = ROOT) -> None:
    """Raise SettingsError unless an image was built from what the checkout holds and has committed."""
    built_from = built_from or "an unknown revision"
    commit = built_from.removesuffix("-dirty")
    if _git(checkout, "diff", "--quiet", commit, "--", *SOURCES).returncode:
        raise SettingsError(
            f"{image} was built from {built_from}, and {', '.join(SOURCES)} are not as they were "
            "there: commit, `make build`, push again; or give it a tag of its own (--tag, and images.tag "
            "in the settings)"
        )


def _git(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", checkout, *arguments], capture_output=True, text=True, check=False)

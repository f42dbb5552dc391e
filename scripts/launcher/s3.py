"""The files of S3 below a prefix: which there are, and bringing them here, each whole or not at all.

Called by `job_output` and `s3_upload`. What is here already in its full size is not fetched again.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from launcher import aws, downloads
from launcher.errors import SettingsError, WorkFailed
from launcher.folders import require_space
from launcher.requests import Request

THREADS = 8  # a trial is many small files, each a request of its own


class Prefix:
    """The files below `s3://bucket/prefix`."""

    def __init__(self, uri: str, client: Any = None) -> None:
        """Raises SettingsError for anything but a bucket and a prefix."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        if urlsplit(uri).scheme != "s3" or not bucket:
            raise SettingsError(f"{uri!r} is not of the form s3://bucket/prefix")
        self.uri = uri.rstrip("/")
        self.bucket = bucket
        self._folder = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.client = client or aws.client("s3")

    def files(self) -> dict[str, int]:
        """Return the size in bytes of each file, by its name below the prefix."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._folder)
        with aws.explained():
            found = [each for page in pages for each in page.get("Contents", [])]
        sizes = {each["Key"].removeprefix(self._folder): each["Size"] for each in found}
        # A name that ends with a slash is how S3's console makes an empty folder.
        return {name: size for name, size in sizes.items() if name and not name.endswith("/")}

    def key(self, name: str) -> str:
        """Return the key of a file by its name below the prefix."""
        return self._folder + name

    def read(self, name: str) -> bytes | None:
        """Return the content of a small file; None where there is none."""
        with aws.explained():
            try:
                body: bytes = self.client.get_object(Bucket=self.bucket, Key=self.key(name))["Body"].read()
            except self.client.exceptions.NoSuchKey:
                return None
        return body

    def write(self, name: str, content: bytes, extra: Mapping[str, str]) -> None:
        """Make a small file; `extra` is what boto3 takes besides, such as its encryption."""
        with aws.explained():
            self.client.put_object(Bucket=self.bucket, Key=self.key(name), Body=content, **extra)

    def remove(self, names: Sequence[str]) -> None:
        """Delete files by their names below the prefix, a thousand at a time."""
        with aws.explained():
            for request in self.removals(names):
                refused = self.client.delete_objects(**request).get("Errors")
                if refused:
                    raise WorkFailed(f"{refused[0]['Key']} cannot be removed: {refused[0]['Message']}")

    def removals(self, names: Sequence[str]) -> list[Request]:
        """Return the DeleteObjects requests of `remove`."""
        keys = [{"Key": self.key(name)} for name in names]
        return [
            {"Bucket": self.bucket, "Delete": {"Objects": keys[start : start + 1000], "Quiet": True}}
            for start in range(0, len(keys), 1000)
        ]

    def fetch(self, sizes: Mapping[str, int], folder: Path) -> None:
        """Bring files of known sizes to the same names below a folder.

        Raises SpaceError, SettingsError for what may not be read, and WorkFailed for a name that leads
        elsewhere and for a file that cannot be had whole.
        """
        places = {name: _inside(folder, name) for name in sizes}
        missing = {name: size for name, size in sizes.items() if not _is_whole(places[name], size)}
        folder.mkdir(parents=True, exist_ok=True)
        require_space(folder, sum(missing.values()))
        with downloads.byte_progress() as progress, ThreadPoolExecutor(THREADS) as pool:
            task = progress.add_task(self.uri, total=sum(missing.values()))
            started = {
                name: pool.submit(self._bring, name, places[name], size) for name, size in missing.items()
            }
            try:
                for name, bringing in started.items():
                    bringing.result()
                    progress.advance(task, missing[name])
            except BaseException:  # of many that fail for one reason, the first one says it
                pool.shutdown(cancel_futures=True)
                raise

    def _bring(self, name: str, place: Path, size: int) -> None:
        key = self.key(name)
        partial = place.with_name(f".{place.name}.part")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with aws.explained():
                self.client.download_file(self.bucket, key, str(partial))
            if (arrived := partial.stat().st_size) != size:
                raise WorkFailed(f"{self.uri}/{name} has {arrived:,} bytes now, and had {size:,} before")
            partial.replace(place)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise WorkFailed(f"{self.uri}/{name} is a file and a folder at once: {place}") from None
        finally:
            partial.unlink(missing_ok=True)


def _inside(folder: Path, name: str) -> Path:
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise WorkFailed(f"the name {name!r} leads outside its folder")
    return folder.joinpath(*parts)


def _is_whole(place: Path, size: int) -> bool:
    return place.is_file() and place.stat().st_size == size

"""A folder of this machine and its copy in S3, which is brought up to date: only what changed is sent.

Called by `data_upload`. What the copy holds stands in its manifest.json, with each file's SHA-256. While
files are sent and removed it names all that may be there, and is written every few seconds, so that a run
that was killed is gone on with.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from launcher import downloads, workers
from launcher.errors import SettingsError, WorkFailed
from launcher.requests import Request
from launcher.s3 import THREADS, Prefix
from launcher.sender import PARTS_FROM, Sender

MANIFEST = "manifest.json"
SAVE_SECONDS = 5.0  # what a killed run sends again


@dataclass(frozen=True)
class Content:
    """What is in a file: its size in bytes and its SHA-256, which is "" while the file is on its way."""

    size: int
    sha256: str

    def __str__(self) -> str:
        """As --dry-run shows it."""
        return f"{self.size:,} bytes"


@dataclass(frozen=True)
class Plan:
    """What has to be done to make the copy like the folder."""

    send: Mapping[str, Content]
    keep: Mapping[str, Content]
    remove: Mapping[str, Content]  # what the manifest has and the folder has not any more
    foreign: Sequence[str]  # what lies there and is in no manifest: a job would read it as well
    known: int  # files of the manifest that are there whole

    @property
    def is_another(self) -> bool:
        """Whether the copy is of another folder: more than half of its files would go, or be others."""
        return len(self.keep) < self.known / 2

    @property
    def size(self) -> int:
        """Bytes to send."""
        return sum(content.size for content in self.send.values())

    def meanwhile(self, arrived: Mapping[str, Content]) -> dict[str, Content]:
        """Return all that may be there before it is done: what is on its way may have arrived, or not."""
        under_way = {name: replace(each, sha256="") for name, each in self.send.items()}
        return {**self.remove, **under_way, **arrived}

    def __str__(self) -> str:
        """What will be done, in one line."""
        said = f"{len(self.send):,} files to send ({self.size / 1e6:,.1f} MB), {len(self.keep):,} are there"
        return said + (f", {len(self.remove):,} to remove" if self.remove else "")


class Copy:
    """The copy of a folder below s3://bucket/prefix; `encryption` is what boto3 takes with each file."""

    def __init__(self, prefix: Prefix, encryption: Mapping[str, str] | None = None) -> None:
        self.prefix = prefix
        self._extra = {"ChecksumAlgorithm": "SHA256"} | dict(encryption or {})
        self._sender = Sender(prefix.client)

    def plan(self, folder: Path, files: Iterable[str]) -> Plan:
        """Compare the files of a folder, relative to it, with what lies there."""
        wanted = contents(folder, files)
        there = self.prefix.files()
        named = self._named()
        known = {name: each for name, each in named.items() if each.sha256 and there.get(name) == each.size}
        keep = {name: each for name, each in wanted.items() if known.get(name) == each}
        return Plan(
            send={name: each for name, each in wanted.items() if name not in keep},
            keep=keep,
            remove={name: named[name] for name in sorted((named.keys() & there.keys()) - wanted.keys())},
            foreign=sorted(there.keys() - named.keys() - wanted.keys() - {MANIFEST}),
            known=len(known),
        )

    def _named(self) -> dict[str, Content]:
        manifest = self.prefix.read(MANIFEST)
        return {name: Content(**each) for name, each in json.loads(manifest or "{}").get("files", {}).items()}

    def operations(self, plan: Plan) -> list[tuple[str, Request]]:
        """Return what is sent, as `arguments.show` takes it; of a large file not its parts."""
        sent = [self._sending(name, content) for name, content in plan.send.items()]
        removed = [("DeleteObjects", request) for request in self.prefix.removals([*plan.remove])]
        manifest = _manifest({**plan.keep, **plan.send}, complete=True)
        return [*sent, *removed, ("PutObject", self._place(MANIFEST) | {"Body": manifest})]

    def _sending(self, name: str, content: Content) -> tuple[str, Request]:
        if content.size >= PARTS_FROM:
            return "CreateMultipartUpload", self._place(name)
        return "PutObject", self._place(name) | {"Body": content}

    def _place(self, name: str) -> Request:
        return {"Bucket": self.prefix.bucket, "Key": self.prefix.key(name), **self._extra}

    def carry_out(self, plan: Plan, folder: Path) -> None:
        """Send, remove, and write the manifest; whatever ends it early, the next run goes on from there.

        Raises WorkFailed for a file that changed since the plan was made, and as AWS refuses.
        """
        arrived = dict(plan.keep)
        with self._noted(plan, arrived), self._sender.given_up(), downloads.byte_progress() as progress:
            task = progress.add_task(self.prefix.uri, total=plan.size)
            send = partial(self._send, plan, folder)
            with closing(workers.done(send, plan.send, THREADS)) as sent:
                for name in sent:
                    arrived[name] = plan.send[name]
                    progress.advance(task, plan.send[name].size)
                    self._save_now_and_then(plan, arrived)
            self.prefix.remove([*plan.remove])
            self._save(arrived, complete=True)

    def _send(self, plan: Plan, folder: Path, name: str) -> None:
        file = folder / name
        self._sender.send(file, self.prefix.bucket, self.prefix.key(name), self._extra)
        if content_of(file) != plan.send[name]:
            raise WorkFailed(f"{file} was changed while it was sent: run the same command again")

    @contextmanager
    def _noted(self, plan: Plan, arrived: Mapping[str, Content]) -> Iterator[None]:
        """Note what may be there, and what has arrived, also where that ends early."""
        self._save(plan.meanwhile(arrived), complete=False)
        self._saved_at = time.monotonic()
        try:
            yield
        except BaseException as ending:
            ending.add_note(f"{len(arrived):,} files are in {self.prefix.uri}: the same command goes on")
            try:
                workers.briefly(partial(self._save, plan.meanwhile(arrived), complete=False))
            except (SettingsError, WorkFailed) as error:
                ending.add_note(f"those that arrived last are sent again, for they cannot be noted: {error}")
            raise

    def _save_now_and_then(self, plan: Plan, arrived: Mapping[str, Content]) -> None:
        if time.monotonic() - self._saved_at > SAVE_SECONDS:
            self._save(plan.meanwhile(arrived), complete=False)
            self._saved_at = time.monotonic()

    def _save(self, there: Mapping[str, Content], *, complete: bool) -> None:
        self.prefix.write(MANIFEST, _manifest(there, complete=complete), self._extra)


def _manifest(there: Mapping[str, Content], *, complete: bool) -> bytes:
    files = {name: asdict(there[name]) for name in sorted(there)}
    return json.dumps({"complete": complete, "files": files}, indent=1).encode()


def contents(folder: Path, files: Iterable[str]) -> dict[str, Content]:
    """Return what is in each file of a folder, by its name relative to it."""
    names = list(files)
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(lambda name: content_of(folder / name), names)
        return dict(zip(names, found, strict=True))


def content_of(file: Path) -> Content:
    """Read a file whole."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return Content(stream.tell(), digest)


def encryption(kms_key: str) -> dict[str, Any]:
    """Return what boto3 takes to encrypt a file with a key; without one it is the bucket's own encryption."""
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}

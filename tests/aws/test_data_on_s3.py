"""The photographs are brought to S3: only what changed, whole, and gone on with after any end."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import boto3
import pytest
from botocore.config import Config
from cloud import Answer, Call, Cloud, CutError
from PIL import Image

from launcher import aws, command_line, data_upload, settings
from launcher.account import Account
from launcher.errors import SettingsError, WorkFailed

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts/prepare_data.py"
BUCKET = "dog-breeds-123456789012-eu-central-1"
URI = f"s3://{BUCKET}/data/dogs"
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


@pytest.fixture
def bucket(cloud: Cloud) -> Any:  # it is where the client goes
    """The project's bucket, empty."""
    client = boto3.client("s3")
    client.create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": client.meta.region_name}
    )
    return client


@pytest.fixture
def dogs(tmp_path: Path) -> Path:
    """Two classes in three splits, and beside them what is no picture."""
    folder = tmp_path / "dogs"
    for split in ("train", "valid", "test"):
        for number, name in enumerate(("1.Red dog", "2.Grün")):
            (folder / split / name).mkdir(parents=True)
            for file in range(3):
                colour = (200 * number, 10 * file, len(split))
                Image.new("RGB", (40, 40), colour).save(folder / split / name / f"{file}.png")
    (folder / "notes.txt").write_text("not for S3")
    return folder


def prepare(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, *arguments, "--settings", settings_file()]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def settings_file() -> Path:
    return ROOT / "tests/golden/settings.toml"


def there(bucket: Any) -> dict[str, bytes]:
    listed = bucket.list_objects_v2(Bucket=BUCKET, Prefix="data/dogs/").get("Contents", [])
    return {
        each["Key"].removeprefix("data/dogs/"): bucket.get_object(Bucket=BUCKET, Key=each["Key"])[
            "Body"
        ].read()
        for each in listed
    }


def here(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*.png")}


def pictures_sent(cloud: Cloud) -> list[str]:
    """The names of the pictures that were sent since the last look."""
    sent = [call.path for call in cloud.calls if call.action == "s3:PutObject" and call.path.endswith("g")]
    cloud.calls.clear()
    return sorted(path.rpartition("/")[2] for path in sent)


def test_the_copy_is_the_folder_with_the_digest_of_each_file(bucket: Any, dogs: Path) -> None:
    done = prepare("--data", dogs, "--upload")

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == URI
    copy = there(bucket)
    manifest = json.loads(copy.pop("manifest.json"))
    assert copy == here(dogs)
    assert manifest["complete"]
    assert manifest["files"].keys() == copy.keys()


def test_a_second_time_nothing_is_sent(bucket: Any, cloud: Cloud, dogs: Path) -> None:
    prepare("--data", dogs, "--upload")
    assert len(pictures_sent(cloud)) == 18

    done = prepare("--data", dogs, "--upload")

    assert done.returncode == 0
    assert "0 files to send (0.0 MB), 18 are there" in done.stderr
    assert pictures_sent(cloud) == []


def test_what_changed_is_sent_and_what_is_gone_is_removed(bucket: Any, cloud: Cloud, dogs: Path) -> None:
    prepare("--data", dogs, "--upload")
    pictures_sent(cloud)
    changed, new, gone = (dogs / "train/1.Red dog" / name for name in ("0.png", "new.png", "1.png"))
    changed.write_bytes(changed.read_bytes()[::-1])  # of the same size
    Image.new("L", (9, 9)).save(new)
    gone.unlink()

    planned = prepare("--data", dogs, "--upload", "--dry-run")
    assert "2 files to send (0.0 MB), 16 are there, 1 to remove" in planned.stderr
    assert pictures_sent(cloud) == []
    shown = json.loads(planned.stdout)
    done = prepare("--data", dogs, "--upload")

    assert done.returncode == 0
    sent = {unquote(call.path) for call in cloud.calls if call.action == "s3:PutObject"}
    assert {f"/{each['Bucket']}/{each['Key']}" for each in shown["PutObject"]} == sent
    assert pictures_sent(cloud) == ["0.png", "new.png"]
    copy = there(bucket)
    del copy["manifest.json"]
    assert copy == here(dogs)


def test_an_object_that_was_replaced_elsewhere_by_one_of_another_size_is_sent_again(
    bucket: Any, cloud: Cloud, dogs: Path
) -> None:
    prepare("--data", dogs, "--upload")
    pictures_sent(cloud)
    bucket.put_object(Bucket=BUCKET, Key="data/dogs/train/2.Grün/0.png", Body=b"cut")
    cloud.calls.clear()

    prepare("--data", dogs, "--upload")

    assert pictures_sent(cloud) == ["0.png"]


def test_what_could_not_be_removed_is_removed_the_next_time(
    bucket: Any, cloud: Cloud, dogs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what had arrived unnoted when the sending was cut off, and has gone from the folder since."""
    monkeypatch.setattr(aws, "_CONFIG", Config(retries={"max_attempts": 1}))
    account = Account(settings.read(settings_file()))
    data_upload.upload(dogs, None, account, without=(), dry_run=False)
    gone, unnoted = (dogs / "train/1.Red dog" / name for name in ("1.png", "new.png"))
    gone.unlink()
    Image.new("L", (9, 9)).save(unnoted)

    cloud.replies["s3:PutObject"] = Network(0)
    with pytest.raises(WorkFailed):
        data_upload.upload(dogs, None, account, without=(), dry_run=False)
    del cloud.replies["s3:PutObject"]
    bucket.upload_file(str(unnoted), BUCKET, "data/dogs/train/1.Red dog/new.png")  # its answer was lost
    unnoted.unlink()
    cloud.replies["s3:DeleteObject"] = lambda _: Answer(DENIED, 403, {"Content-Type": "application/xml"})
    with pytest.raises(SettingsError, match="may not do DeleteObjects") as denied:
        data_upload.upload(dogs, None, account, without=(), dry_run=False)
    assert denied.value.__notes__ == [f"17 files are in {URI}: the same command goes on"]
    del cloud.replies["s3:DeleteObject"]

    data_upload.upload(dogs, None, account, without=(), dry_run=False)

    assert there(bucket).keys() == here(dogs).keys() | {"manifest.json"}


def test_somebody_elses_files_are_neither_mixed_with_nor_removed(bucket: Any, dogs: Path) -> None:
    bucket.put_object(Bucket=BUCKET, Key="data/dogs/train/1.Red dog/other.png", Body=b"1")

    done = prepare("--data", dogs, "--upload")

    assert done.returncode == 2
    assert "has 1 files that are not from here, such as train/1.Red dog/other.png" in done.stderr
    assert there(bucket) == {"train/1.Red dog/other.png": b"1"}


def test_a_name_that_s3_cannot_have_is_told(bucket: Any, cloud: Cloud, dogs: Path) -> None:
    account = Account(settings.read(settings_file()))
    (dogs / "train/1.Red dog/0.png").rename(dogs / os.fsdecode(b"train/1.Red dog/\xe4.png"))

    with pytest.raises(SettingsError, match=r"as all in S3 are: train/1.Red dog/\\xe4.png. Rename"):
        data_upload.upload(dogs, None, account, without=(), dry_run=True)

    assert not pictures_sent(cloud)


def test_another_folder_of_the_same_name_does_not_take_a_copys_place(
    bucket: Any, dogs: Path, tmp_path: Path
) -> None:
    account = Account(settings.read(settings_file()))
    data_upload.upload(dogs, None, account, without=(), dry_run=False)
    before = there(bucket)
    other = tmp_path / "other/dogs"
    shutil.copytree(dogs, other)
    for file in sorted(other.rglob("*.png"))[:10]:
        Image.new("RGB", (30, 30)).save(file)

    with pytest.raises(SettingsError, match=r"10 of its 18 files are not in .*other/dogs, or.*another --to"):
        data_upload.upload(other, None, account, without=(), dry_run=False)
    assert there(bucket) == before
    data_upload.upload(other, f"{URI}-2", account, without=(), dry_run=False)


def test_a_large_file_goes_in_parts(bucket: Any, dogs: Path) -> None:
    large = dogs / "test/2.Grün/large.png"
    large.write_bytes(os.urandom(9_000_000))

    done = prepare("--data", dogs, "--upload")

    assert done.returncode == 0, done.stderr
    assert there(bucket)["test/2.Grün/large.png"] == large.read_bytes()


def test_what_cannot_be_read_stays_here_and_is_listed(bucket: Any, dogs: Path, tmp_path: Path) -> None:
    (dogs / "train/1.Red dog/0.png").write_bytes(b"no picture")

    done = prepare(
        *("--data", dogs, "--scan", "--reports", tmp_path / "found", "--backend", "process", "--upload")
    )

    assert done.returncode == 0, done.stderr
    assert "left out 1 unreadable file(s): train/1.Red dog/0.png" in done.stderr
    assert "train/1.Red dog/0.png" not in there(bucket)
    assert "train/1.Red dog/1.png" in there(bucket)
    reports = {"quarantine.csv", "duplicates.csv", "classes.csv"}
    assert reports <= {file.name for file in (tmp_path / "found").iterdir()}


def test_with_a_key_of_ones_own_every_file_is_encrypted_with_it(
    bucket: Any, dogs: Path, tmp_path: Path
) -> None:
    own = settings_file().read_text() + '[storage]\nkms-key = "alias/dogs"\n'
    (tmp_path / "own.toml").write_text(own)
    account = Account(settings.read(tmp_path / "own.toml"))

    data_upload.upload(dogs, None, account, without=(), dry_run=False)

    for name in ("train/2.Grün/0.png", "manifest.json"):
        head = bucket.head_object(Bucket=BUCKET, Key=f"data/dogs/{name}")
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/dogs")


class Network:
    """Lets some pictures through; then `ends` is what becomes of the next ones."""

    def __init__(self, through: int) -> None:
        self.through = threading.Semaphore(through)
        self.closed, self.over = threading.Event(), threading.Event()

    def __call__(self, call: Call) -> Answer | None:
        if not call.path.endswith(".png") or self.through.acquire(blocking=False):
            return None
        self.closed.set()
        return self.end()

    def end(self) -> Answer | None:
        raise CutError


class Hanging(Network):
    """The next ones are not answered."""

    def end(self) -> None:
        self.over.wait(300)


def test_a_network_that_is_cut_midway_is_said_and_gone_on_with(
    bucket: Any,
    cloud: Cloud,
    dogs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(aws, "_CONFIG", Config(retries={"max_attempts": 1}))
    account = Account(settings.read(settings_file()))

    def main() -> int:
        data_upload.upload(dogs, None, account, without=(), dry_run=False)
        return 0

    cloud.replies["s3:PutObject"] = Network(5)
    assert command_line.run(main) == 1
    said = capsys.readouterr().err
    assert "error: AWS cannot be reached: " in said
    kept = re.search(r"(\d+) files are in s3://\S+: the same command goes on", said)
    assert kept
    cloud.calls.clear()

    del cloud.replies["s3:PutObject"]
    assert command_line.run(main) == 0

    assert len(pictures_sent(cloud)) == 18 - int(kept[1])
    assert there(bucket).keys() == here(dogs).keys() | {"manifest.json"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_run_that_was_ended_is_gone_on_with(
    bucket: Any, cloud: Cloud, dogs: Path, number: signal.Signals, code: int
) -> None:
    network = Hanging(9)
    cloud.replies["s3:PutObject"] = network
    at_once = "import launcher.s3_upload as upload; upload.SAVE_SECONDS = 0; import runpy, sys; "
    arguments = [str(SCRIPT), "--data", str(dogs), "--upload", "--settings", str(settings_file())]
    program = f"{at_once} sys.argv = {arguments!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
    running = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    assert network.closed.wait(60)
    _wait_until_noted(bucket)
    running.send_signal(number)
    _, said = running.communicate(timeout=120)
    del cloud.replies["s3:PutObject"]
    assert running.returncode == code
    assert ("files are in s3://" in said) == (number == signal.SIGINT)
    noted = len(_noted(bucket))
    assert noted > 0
    cloud.calls.clear()

    done = prepare("--data", dogs, "--upload")

    assert done.returncode == 0, done.stderr
    assert len(pictures_sent(cloud)) == 18 - noted
    assert json.loads(there(bucket)["manifest.json"])["complete"]
    network.over.set()


def _noted(bucket: Any) -> set[str]:
    """Files of which the manifest says that they have arrived."""
    files = json.loads(there(bucket).get("manifest.json", b"{}")).get("files", {})
    return {name for name, content in files.items() if content["sha256"]}


def _wait_until_noted(bucket: Any) -> None:
    for _ in range(600):
        if _noted(bucket):
            return
        threading.Event().wait(0.1)
    pytest.fail("nothing of what had arrived was noted")

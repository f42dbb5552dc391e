"""The doctor without containers: secrets, how bad a finding is, this machine, a model, photographs."""

import io
import itertools
import json
import os
import pickle
import re
import shutil
import socket
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import script
from PIL import Image
from tiny_artifact import write_tiny_artifact

from launcher import archives, backends
from launcher.account import Account
from launcher.doctor import catalogue, layers, report, secret_files, secret_kinds, secret_settings
from launcher.doctor.check import Check, NotApplicable, Severity, Unjudged
from launcher.doctor.examination import examine, exit_code
from launcher.doctor.examined_machine import Machine
from launcher.doctor.examined_photographs import Photographs
from launcher.doctor.files import model_pickles
from launcher.doctor.machine import clock, disk, memory
from launcher.doctor.placed import PlacedModel
from launcher.doctor.probe import pickled_array
from launcher.errors import SettingsError
from launcher.model_source import ARCHIVE
from launcher.settings import Settings

ROOT = Path(__file__).parents[3]
KEY = "\n".join(["-----BEGIN RSA PRIVATE KEY-----", *["MIIEpAIBAAKCAQEA" * 4] * 4])


def look_at(**outcome: Any) -> Check[Any]:
    def look(_: Any) -> Iterator[str]:
        yield from outcome.get("found", [])
        if "raises" in outcome:
            raise outcome["raises"]

    severity = outcome.get("severity", Severity.ERROR)
    return Check("a-check", "all is well", severity, "mend it", "docs/doctor.md", look, outcome.get("fix"))


@pytest.mark.parametrize(
    ("checks", "code"),
    [
        ([], 0),
        ([{}], 0),
        ([{"raises": NotApplicable("nothing there")}], 0),
        ([{"found": ["a"], "severity": Severity.NOTE}], 0),
        ([{"raises": Unjudged("no model")}], 1),
        ([{"raises": Unjudged("no model")}, {"found": ["a"], "severity": Severity.WARNING}], 3),
        ([{"found": ["a"], "severity": Severity.WARNING}, {"found": ["b"]}], 4),
        ([{"found": ["a"], "raises": Unjudged("half of it")}], 4),
    ],
)
def test_the_worst_finding_is_the_exit_code(checks: list[dict[str, Any]], code: int) -> None:
    assert exit_code(examine([look_at(**each) for each in checks], None)) == code


def test_what_may_not_be_read_is_left_unjudged_and_the_other_checks_go_on() -> None:
    refused = PermissionError(13, "Permission denied", "coat")

    first, second = examine([look_at(raises=refused), look_at(found=["dirty"])], "coat")

    assert first.unjudged == "coat cannot be read: Permission denied"
    assert second.found == ["dirty"]


def test_what_is_mended_is_not_open_any_more_and_nothing_is_mended_unasked() -> None:
    mended: list[Any] = []
    check = look_at(found=["torn"], fix=lambda subject: mended.append(subject) or "sewn")

    (seen,) = examine([check], "coat")
    assert (exit_code([seen]), mended) == (4, [])
    (fixed,) = examine([check], "coat", fix=True)
    assert (exit_code([fixed]), fixed.fixed, fixed.outcome, mended) == (0, "sewn", "fixed", ["coat"])


@pytest.mark.parametrize(
    "reason", [SettingsError("no thread"), PermissionError(13, "Permission denied", "coat")]
)
def test_what_cannot_be_mended_stays_open_and_the_other_checks_go_on(reason: Exception) -> None:
    def fix(_: Any) -> str:
        raise reason

    torn, next_one = examine([look_at(found=["torn"], fix=fix), look_at(found=["dirty"])], "coat", fix=True)

    assert (torn.open, list(torn.found)) == (True, ["torn", f"not mended: {reason}"])
    assert next_one.found == ["dirty"]


def test_who_watches_is_told_a_line_a_check_and_at_last_what_has_no_verdict_by_its_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    outcomes: list[dict[str, Any]] = [
        {},
        {"found": ["torn"], "severity": Severity.WARNING},
        {"raises": Unjudged("no light")},
        {"raises": Unjudged("no light")},
        {"raises": NotApplicable("it has no sleeves")},
        {"raises": NotApplicable("it has no sleeves")},
    ]
    results = list(examine([look_at(**each) for each in outcomes], "coat"))

    report.show(results, "coat")

    assert [report.in_short(each).removeprefix("a-check: ") for each in results] == [
        "fine, all is well",
        "warning",
        "could not be judged",
        "could not be judged",
        "nothing to check",
        "nothing to check",
    ]
    assert [check["result"] for check in json.loads(report.as_json(results, "coat"))["checks"]] == [
        "passed",
        "found",
        "unjudged",
        "unjudged",
        "skipped",
        "skipped",
    ]
    assert capsys.readouterr().out.splitlines()[-4:] == [
        "a-check: see docs/doctor.md",
        "a-check, a-check: could not be judged: no light",
        "nothing to check, as it has no sleeves: a-check, a-check",
        "coat: 1 of 6 checks found nothing",
    ]


TEN = "a1B2c3D4e5"
# Put together here, so that nobody who looks for secrets finds these.
SECRETS = [
    (KEY, "a private key"),
    ("key = " + "AKIA" + "Q3EGRIXT7HDMXLWB", "an AWS access key"),
    ("key = " + "ASIA" + "Q3EGRIXT7HDMXLWB", "an AWS session's key"),
    ("aws_secret_access_key = " + "wJalrXUtnFEMIK7MDENGbPxRfiCYzzzzKEYzzzzz", "an AWS secret key"),
    ("AWS_SECRET_ACCESS_KEY=" + TEN * 4, "an AWS secret key"),
    ('"aws_secret_access_key": "' + TEN * 4 + '"', "an AWS secret key"),
    ('{"SecretAccessKey": "' + TEN * 4 + '"}', "an AWS secret key"),
    (json.dumps({"type": "service_account", "private_key": KEY}), "a private key"),
    (json.dumps({"auths": {"ghcr.io": {"auth": "bWU6aHVudGVyMg=="}}}), "a registry's password"),
    *(("gh" + each + "_" + TEN * 3 + "a1B2c3", "a GitHub token") for each in "pousr"),
    ("github_pat" + "_" + TEN * 8 + "a1", "a GitHub token"),
    ("glpat" + "-" + TEN * 2, "a GitLab token"),
    ("token: hf" + "_" + "abcdefghij" * 3 + "abcd", "a Hugging Face token"),
    ("pypi-AgEI" + TEN * 5, "a PyPI token"),
    ("npm" + "_" + TEN * 3 + "a1B2c3", "an npm token"),
    ("xoxb" + "-" + "0123456789-" + TEN * 2, "a Slack token"),
]


@pytest.mark.parametrize(("text", "kind"), SECRETS)
def test_a_secret_in_a_text_is_known(text: str, kind: str) -> None:
    assert secret_kinds.kinds_in(f"before {text} after".encode()) == [kind]


def test_each_kind_of_secret_has_an_example() -> None:
    for kind in secret_kinds.KINDS:
        assert [text for text, _ in SECRETS if kind.has.decode() in text.lower()], kind.has


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN PRIVATE KEY-----",  # as source code has it
        "AKIA" + "IOSFODNN7EXAMPLE",  # AWS's documentation
        "aws_secret_access_key = " + "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "hf_hub_download",
        f"\0{KEY}",  # no text
    ],
)
def test_what_only_looks_like_one_is_none(text: str) -> None:
    assert secret_kinds.kinds_in(text.encode()) == []


def test_variables_labels_and_the_builds_history_are_looked_at() -> None:
    config = {
        "Env": ["PATH=/bin", "DB_PASSWORD=correct-horse", "TOKEN_FILE=/run/secrets/token", "USE_TOKEN=no"],
        "Labels": {"note": "ghp_" + "a1B2c3D4e5" * 3 + "a1B2c3"},
    }
    history = [{"CreatedBy": "|1 API_KEY=0123456789 /bin/sh -c make"}, {"CreatedBy": "ENV PATH=/bin"}]

    assert list(secret_settings.found_in(config, history)) == [
        "a value of that name in the variable DB_PASSWORD",
        "a GitHub token in the label note",
        "a value of that name in the build's history, as API_KEY",
    ]


HEX = "".join(f"{number:x}" for number in [3, 12, 7, 10, 1, 15, 4, 11] * 5)
GITHUB = "ghp" + "_" + TEN * 3 + "a1B2c3"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (
            f"RUN pip install git+https://{GITHUB}@github.com/me/mine",
            ["a GitHub token in the build's history"],
        ),
        (
            "RUN |1 PIP_INDEX_URL=https://me:hunter2@pypi.example/simple /bin/sh -c pip install mine",
            ["a password in an address in the build's history, as PIP_INDEX_URL"],
        ),
        ("ENV DB_PASS=hunter2", ["a value of that name in the build's history, as DB_PASS"]),
        (
            "|1 npm_token=0123456789 /bin/sh -c npm ci",
            ["a value of that name in the build's history, as npm_token"],
        ),
        ("RUN deploy --db-password='pw'", ["a value of that name in the build's history, as db-password"]),
        ("ENV apiKey=0123456789", ["a value of that name in the build's history, as apiKey"]),
        ("ENV TOKENIZER_NAME=bert-base-uncased", []),
        ("ENV MAX_TOKENS=1000000000", []),
        (
            f"ENV API_TOKEN_GITHUB={TEN * 2}",
            ["a value of that name in the build's history, as API_TOKEN_GITHUB"],
        ),
        (
            f"ENV SECRET_KEY_DJANGO={HEX}",
            ["a value of that name in the build's history, as SECRET_KEY_DJANGO"],
        ),
        (f"ENV TOKEN_SHA256={HEX} TOKENIZER_REVISION={HEX} ACCESS_KEY_ID={HEX} PYTHON_SHA256={HEX}", []),
        ("ENV TOKEN_MODEL=Meta-Llama-3-8B-Instruct SECRET_BACKEND=vault-v1 PASSWORD_MIN_LENGTH=12", []),
        ("ENV TOKEN_LIMIT=1000000000000000 SECRET_NAME=prod-database-credentials-2024", []),
        ("ENV API_KEY_HEADER=X-Api-Key-Of-The-Gateway PASSWORD_HASHER=PBKDF2PasswordHasher", []),
        ("ENV TOKEN_SINCE=20260101T120000Z SECRET_ARN=arn:aws:secretsmanager:x:1:secret:a1b2c3d4e5f6", []),
        ("ENV TOKEN_ENDPOINT=https://login.example/token", []),
        ("ENV GPG_KEY=A035C8C19219BA821ECEA86B64E628F8D684696D", []),
        ("ENV MYSQL_ALLOW_EMPTY_PASSWORD=yes BYPASS=everything PWD=/app", []),
        (
            "RUN --mount=type=secret,id=token TOKEN=$(cat /run/secrets/token) pip install https://me:$TOKEN@host/",
            [],
        ),
    ],
)
def test_of_the_builds_history_the_whole_command_is_read(command: str, says: list[str]) -> None:
    assert list(secret_settings.found_in({}, [{"CreatedBy": command}])) == says


def test_a_secret_variable_is_told_once() -> None:
    history = [{"CreatedBy": "ENV DB_PASS=correct horse"}]

    assert list(secret_settings.found_in({"Env": ["DB_PASS=correct horse"]}, history)) == [
        "a value of that name in the variable DB_PASS"
    ]


class Saved:
    """What `docker save` gives of an image of these layers; the real one is in tests/container."""

    def __init__(self, layout: str, *layers: dict[str, str]) -> None:
        tars = [tar({name: text.encode() for name, text in files.items()}) for files in layers]
        self._files = {layout.format(number): each for number, each in enumerate([b"{}", *tars])}

    def save(self, chunk_size: int) -> Iterator[bytes]:
        whole = tar(self._files)
        yield from (
            whole[start : start + chunk_size // 1000] for start in range(0, len(whole), chunk_size // 1000)
        )


def tar(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


@pytest.mark.parametrize("layout", ["{}/layer.tar", "blobs/sha256/{}"])
def test_a_secret_of_any_layer_counts_but_not_a_packages_own_test_key(layout: str) -> None:
    image = Saved(layout, {"root/.ssh/id_rsa": KEY}, {"root/.ssh/.wh.id_rsa": ""}, {
        "opt/venv/lib/python3.11/site-packages/gevent/tests/server.key": KEY,
    })  # fmt: skip

    assert list(layers.found_in(image)) == ["a private key in /root/.ssh/id_rsa (layer 1)"]


def test_files_of_settings_are_read_as_such_and_examples_of_them_are_not() -> None:
    image = Saved("{}/layer.tar", {
        "app/.env": "DEBUG=1\nDB_PASSWORD='hunter2'\n",
        "app/.env.example": "DB_PASSWORD=change-me",
        "etc/pip.conf": "[global]\nindex-url = https://me:hunter2@pypi.example/simple",
        "root/.netrc": "machine github.com login me password hunter2",
        "root/.npmrc": "//registry.npmjs.org/:_authToken=0123456789",
        "large/.env": "#" * 2**20 + "\nDB_PASSWORD=hunter2",
        "usr/share/doc/urls.txt": "write https://user:password@host/",
    })  # fmt: skip

    assert list(layers.found_in(image)) == [
        "a value of that name in /app/.env, as DB_PASSWORD (layer 1)",
        "a password in an address in /etc/pip.conf, as index-url (layer 1)",
        "a password in /root/.netrc (layer 1)",
        "a value of that name in /root/.npmrc, as _authToken (layer 1)",
        "a value of that name in /large/.env, as DB_PASSWORD (layer 1)",
    ]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_text_is_read_in_the_encoding_that_its_first_bytes_say(encoding: str) -> None:
    (said,) = secret_files.found_in("/app/notes.txt", f"the key:\n{KEY}".encode(encoding))

    assert said == "a private key in /app/notes.txt"


def test_the_pickled_array_is_one_for_numpy_and_makes_the_file(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    array = pickled_array(str(marker))

    with pytest.raises(ValueError, match="allow_pickle"):
        np.load(io.BytesIO(array), allow_pickle=False)
    assert not marker.exists()
    np.load(io.BytesIO(array), allow_pickle=True)
    assert marker.exists()


def test_the_page_lists_every_check_with_its_severity_and_what_to_do() -> None:
    rows = re.findall(
        r"^\| `([a-z0-9-]+)` \| (.*) \| (.*) \| (.*) \|$", (ROOT / "docs/doctor.md").read_text(), re.MULTILINE
    )
    every = [*catalogue.IMAGE, *catalogue.MACHINE, *catalogue.MODEL, *catalogue.DATA]

    assert rows == [
        (
            check.name,
            check.holds,
            check.severity.name.lower(),
            check.remedy + ("" if check.fix is None else " (`--fix`)"),
        )
        for check in every
    ]
    assert len({check.name for check in every}) == len(every)


def test_each_source_is_a_page_of_ours_or_an_address() -> None:
    for check in [*catalogue.IMAGE, *catalogue.MACHINE, *catalogue.MODEL, *catalogue.DATA]:
        assert check.source.startswith("https://") or (ROOT / check.source).is_file(), check.name


def doctor(*arguments: str | Path, **environment: str) -> tuple[int, dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        done = script.run("doctor", *map(str, arguments), "--json")
    assert "/doctor-" not in done.stderr + done.stdout  # a folder that is gone by now
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def found(answer: dict[str, Any]) -> dict[str, list[str]]:
    return {check["name"]: check["found"] for check in answer["checks"] if check["found"]}


def test_a_machine_without_an_engine_and_without_aws_is_told_so(tmp_path: Path) -> None:
    nothing = {name: "" for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE") if name in os.environ}
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead.sock"))  # nobody listens
        code, answer = doctor(
            "--environment",
            DOCKER_HOST=f"unix://{tmp_path / 'dead.sock'}",
            AWS_CONFIG_FILE="/dev/null",
            **nothing,
        )

    assert code == 3
    assert found(answer)["docker"] == ["no Docker engine answers: nothing listens on the Docker socket"]
    assert "region" in found(answer)
    assert {check["name"]: check["severity"] for check in answer["checks"]}["region"] == "note"
    skipped = {check["name"] for check in answer["checks"] if check["skipped"]}
    assert skipped == {"credentials", "clock", "role", "quotas"}


@pytest.mark.parametrize(("ahead", "says"), [(-600, "behind"), (600, "ahead of"), (30, "")])
def test_a_wrong_clock_is_found(ahead: int, says: str) -> None:
    from datetime import UTC, datetime, timedelta
    from email.utils import format_datetime

    machine = Machine(Account(Settings(region="eu-central-1")))
    there = format_datetime(datetime.now(UTC) - timedelta(seconds=ahead), usegmt=True)
    machine.__dict__["_answer"] = {"ResponseMetadata": {"HTTPHeaders": {"date": there}}}

    assert [says in message for message in clock.look(machine)] == ([True] if says else [])


@pytest.mark.parametrize(("size", "says"), [("18g", ["19.3 GB are free"]), ("19g", [])])
def test_a_disk_with_less_than_20_gb_is_found(
    tmp_path: Path, mount_disk: Callable[[Path, str], Path], size: str, says: list[str]
) -> None:
    machine = Machine(Account(Settings()), checkout=mount_disk(tmp_path / "disk", size))
    machine.__dict__["images"] = None

    assert [message.partition(" on ")[0] for message in disk.look(machine)] == says


def test_the_disk_of_the_engine_counts_where_it_is_another(
    tmp_path: Path, mount_disk: Callable[[Path, str], Path]
) -> None:
    machine = Machine(Account(Settings()), checkout=mount_disk(tmp_path / "disk", "19g"))
    machine.__dict__["images"] = mount_disk(tmp_path / "engine", "18g")

    assert list(disk.look(machine)) == [f"19.3 GB are free on the disk of {tmp_path / 'engine'}"]

    machine.__dict__["images"] = machine.checkout
    assert list(disk.look(machine)) == []


def test_a_machine_with_too_little_memory_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, there = Machine(Account(Settings())), psutil.virtual_memory().total

    monkeypatch.setattr(memory, "NEEDED", there + 1)
    assert list(memory.look(machine)) == [f"it has {there / 1e9:.1f} GB"]
    monkeypatch.setattr(memory, "NEEDED", there)
    assert list(memory.look(machine)) == []


def test_full_price_machines_have_a_quota_of_their_own() -> None:
    settings = Settings.model_validate({"training": {"spot": False, "instances": 2}})

    assert Machine(Account(settings)).wanted_quotas == {
        "ml.g4dn.xlarge for training job usage": 2,
        "ml.m5.large for endpoint usage": 1,
    }


def test_a_whole_model_passes_and_a_damaged_one_says_which_file(tmp_path: Path) -> None:
    whole = write_tiny_artifact(tmp_path / "whole")
    damaged = Path(shutil.copytree(whole, tmp_path / "damaged"))
    (damaged / "model.bin").write_bytes((damaged / "model.bin").read_bytes()[:-1] + b"x")
    (damaged / "weights.pth").write_text("a pickle by its name")

    job = tmp_path / "job"
    archives.pack(whole, job / ARCHIVE)

    fine = doctor("--artifact", job, "--backend", "process")
    code, answer = doctor("--artifact", damaged, "--backend", "process")

    assert (fine[0], found(fine[1])) == (0, {})
    assert code == 4
    assert found(answer)["model-pickles"] == ["weights.pth is a pickle, by its name"]
    assert "was altered" in found(answer)["serves"][0]
    assert "(model.bin)" in found(answer)["serves"][0]


def test_a_pickle_is_known_by_its_content_and_is_not_unpickled(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    model = write_tiny_artifact(tmp_path / "model")
    hidden = {f"protocol-{number}.bin": pickle.dumps(Makes(marker), number) for number in range(6)}
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("extra/data.pkl", hidden["protocol-2.bin"])
    harmless = {
        "words": b"cat\ndog\nfox.\n",
        "empty": b"",
        "weights": b"\x80\x02\xff\xff",
        "end.zip": b"PK\5\6",
    }
    for name, content in (hidden | harmless | {"extra.weights": zipped.getvalue(), "W.PKL": b""}).items():
        (model / name).write_bytes(content)

    (result,) = examine([model_pickles.CHECK], PlacedModel(model, backends.choose("process", print), ""))

    assert result.found == [
        "W.PKL is a pickle, by its name",
        "extra.weights is a pickle, by its content, a zip file with a pickle",
        *(f"{name} is a pickle, by its content" for name in hidden),
    ]
    assert not marker.exists()


@dataclass(frozen=True)
class Makes:
    """Makes a file where it is unpickled."""

    file: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def test_an_archive_that_is_none_is_an_error_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").write_text("no archive")

    code, answer = doctor("--artifact", tmp_path / "model.tar.gz", "--backend", "process")

    assert code == 4
    assert set(found(answer)) == {"unpacks"}


def test_a_folder_without_a_description_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"some")

    code, answer = doctor("--artifact", tmp_path, "--backend", "process")

    assert (code, set(found(answer))) == (4, {"serves"})
    assert "there is no artifact.json in it" in found(answer)["serves"][0]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two classes in three splits, no picture twice."""
    sizes = itertools.count(60)
    for split in ("train", "valid", "test"):
        for name in ("001.Red", "002.Green"):
            folder = tmp_path / "photographs" / split / name
            folder.mkdir(parents=True)
            for number in range(3):
                Image.new("RGB", (next(sizes), 50), (0, 99, 0)).save(folder / f"{number}.jpg")
    return tmp_path / "photographs"


def add_pictures(folder: Path, count: int) -> None:
    """Make so many more: of a hundred a job leaves one out."""
    for number in range(count):
        Image.new("RGB", (200 + number, 50)).save(folder / f"more-{number}.jpg")


def test_pictures_that_cannot_be_read_are_counted_and_not_all_of_them_named(photographs: Path) -> None:
    for number in range(12):
        (photographs / f"valid/001.Red/{number:02}.jpg").write_text("no picture")

    answer = doctor("--data", photographs, "--backend", "process")[1]

    assert len(found(answer)["pictures"]) == 11
    assert found(answer)["pictures"][-1].startswith("and 2 more, 12 in all")


def test_whole_photographs_pass_and_nothing_is_said_of_them(photographs: Path) -> None:
    code, answer = doctor("--data", photographs, "--backend", "process")

    assert (code, found(answer)) == (0, {})
    assert not [check["name"] for check in answer["checks"] if check["skipped"] or check["unjudged"]]


def test_pictures_that_cannot_be_read_or_stand_where_they_should_not_are_found(photographs: Path) -> None:
    known = photographs / "train/001.Red/0.jpg"
    (photographs / "test/001.Red/text.jpg").write_text("no picture")
    shutil.copy(known, photographs / "valid/001.Red/copy.jpg")
    shutil.copy(known, photographs / "test/001.Red/copy.jpg")
    shutil.copy(known, photographs / "test/002.Green/another.jpg")
    shutil.copy(photographs / "valid/001.Red/1.jpg", photographs / "test/001.Red/of-valid.jpg")

    code, answer = doctor("--data", photographs, "--backend", "process")

    assert code == 4
    findings = found(answer)
    (refused,) = findings.pop("enough")
    assert refused.startswith(
        f"1 of the 10 files in {photographs}/test cannot be read, more than max-unreadable"
    )
    assert findings == {
        "pictures": ["test/001.Red/text.jpg cannot be read"],
        "copies": [
            "1 picture of valid is also in train: the measured accuracy is too high",
            "2 pictures of test are also in train: the measured accuracy is too high",
        ],
        "contradictions": ["1 picture stands in more than one class"],
    }


def test_what_else_is_said_of_photographs_is_said_without_what_is_gone_afterwards(photographs: Path) -> None:
    (photographs / "valid/001.Red/\x1b[2Jnotes.txt").write_text("no picture")
    for number in range(12):
        Image.new("RGB", (30 + number, 50)).save(photographs / f"train/002.Green/more-{number}.jpg")
    (photographs / "test/001.Red/text.jpg").write_text("no picture")
    add_pictures(photographs / "test/002.Green", 99)

    said = script.run("doctor", "--data", str(photographs), "--backend", "process").stderr

    assert said.splitlines() == [
        "backend: process (as asked)",
        "ignored 1 file(s) whose names are not those of pictures: valid/001.Red/\ufffd[2Jnotes.txt",
        "the classes of train are unbalanced: 15 pictures of 002.Green, 3 of 001.Red",
    ]


def test_a_class_of_which_nothing_can_be_read_is_an_error(photographs: Path) -> None:
    first, *others = (photographs / "valid/001.Red").iterdir()
    first.write_text("no picture")
    for picture in others:
        picture.unlink()
    add_pictures(photographs / "valid/002.Green", 99)

    code, answer = doctor("--data", photographs, "--backend", "process")

    assert code == 4
    assert set(found(answer)) == {"pictures", "enough"}
    assert found(answer)["enough"][0].startswith("none of the pictures of 001.Red in")


def test_where_nothing_can_look_into_photographs_that_is_said_once(
    photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER", "false")

    results = list(examine(catalogue.DATA, Photographs(photographs, "docker", "no-image")))

    unjudged = {each.name: each.unjudged for each in results if each.unjudged}
    assert unjudged == {
        "pictures": f"{photographs} cannot be trained on as it is (exit code 1); the lines above say why"
    }
    assert {each.name for each in results if each.skipped} == {"enough", "copies", "contradictions"}


def test_a_split_without_a_class_is_an_error(photographs: Path) -> None:
    shutil.rmtree(photographs / "valid/001.Red")

    code, answer = doctor("--data", photographs, "--backend", "process")

    assert code == 4
    assert "/valid lacks 001.Red" in found(answer)["layout"][0]


@pytest.mark.parametrize(
    ("option", "name", "said"),
    [
        ("--data", "nowhere", "nowhere does not exist"),
        ("--data", "text.txt", "text.txt is no folder"),
        ("--data", "pipe", "pipe is no folder"),
        ("--artifact", "nowhere", "nowhere does not exist"),
        ("--artifact", "pipe", "pipe is neither a folder nor an archive"),
    ],
)
def test_what_cannot_be_examined_is_a_wrong_argument(
    tmp_path: Path, option: str, name: str, said: str
) -> None:
    (tmp_path / "text.txt").write_text("no folder")
    os.mkfifo(tmp_path / "pipe")

    ended = script.run("doctor", option, str(tmp_path / name), "--backend", "process")

    assert (ended.returncode, said in ended.stderr) == (2, True), ended.stderr

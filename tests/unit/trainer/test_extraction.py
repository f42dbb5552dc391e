"""Extraction: in order, as it comes, the same however it is divided; nothing that was computed is lost."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from trainer import extraction
from trainer.backbones import Classifier, build_classifier, find_backbone
from trainer.data import RobustImageFolder
from trainer.distributed import ALONE
from trainer.extraction import Extractor, ensure_features, gpu_extractor, processor_extractor
from trainer.failures import DiskError
from trainer.features import FeatureTable
from trainer.termination import Terminated
from trainer.views import CENTRE, Preprocessing, Views

WIDTH = 1280
VIEWS = Views(Preprocessing(64, 64), 0.25)


def network() -> Classifier:
    return build_classifier(find_backbone("efficientnet_lite0"), None, classes=1, seed=0)


@pytest.fixture(scope="module")
def extract() -> Extractor:
    return processor_extractor(network(), VIEWS, precision=torch.float32, threads=2)


class Watched(RobustImageFolder):
    """Notes which pictures are read, and does something at each."""

    def watch(self, at_read: Callable[[int], None]) -> None:
        self.begun: list[int] = []
        self._at_read = at_read

    def read(self, index: int) -> Image.Image:
        """As the folder does."""
        self.begun.append(index)
        self._at_read(index)
        return super().read(index)


@pytest.fixture
def folder(pictures: Path) -> Watched:
    """24 pictures."""
    watched = Watched(pictures / "train")
    watched.watch(lambda index: None)
    return watched


def open_table(cache: Path) -> FeatureTable:
    return FeatureTable(cache, backbone="net", width=WIDTH, identity={})


def test_a_feature_depends_on_nothing_but_its_picture(extract: Extractor, folder: Watched) -> None:
    together = [row[:2] for row in extract(folder, range(24), CENTRE)]
    backwards = dict(zip(range(23, -1, -1), extract(folder, range(23, -1, -1), CENTRE), strict=True))

    assert [place for places, _ in together for place in places] == list(range(24))
    for place, (_, feature) in enumerate(together):
        assert np.array_equal(feature, backwards[place][1])


def test_the_first_feature_is_there_while_later_pictures_are_still_read(
    extract: Extractor, folder: Watched
) -> None:
    first_seen = threading.Event()

    def wait(index: int) -> None:
        assert index < 10 or first_seen.wait(timeout=10)

    folder.watch(wait)
    for places, _, _ in extract(folder, range(24), CENTRE):
        if places == [9]:
            first_seen.set()

    assert sorted(folder.begun) == list(range(24))


def test_an_extraction_that_ends_early_begins_nothing_more(
    extract: Extractor, folder: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "_AHEAD", 2)
    extracted = extract(folder, range(24), CENTRE)
    next(extracted)
    extracted.close()  # type: ignore[attr-defined]

    assert len(folder.begun) <= 5  # what has come, and two for each of the two threads


@pytest.mark.parametrize("end", [Terminated, KeyboardInterrupt])
def test_what_was_computed_before_a_stop_is_kept_though_no_flush_was_due(
    extract: Extractor, folder: Watched, tmp_path: Path, end: type[BaseException]
) -> None:
    def stop(index: int) -> None:
        if index == 20:
            raise end

    folder.watch(stop)
    with pytest.raises(end):
        ensure_features(open_table(tmp_path), folder, CENTRE, build=lambda: extract, group=ALONE)

    assert open_table(tmp_path).missing(folder.digests) == [20, 21, 22, 23]


def test_the_log_says_how_far_it_is_picture_by_picture(
    extract: Extractor,
    folder: Watched,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(extraction, "_REPORT_SECONDS", -1.0)

    ensure_features(open_table(tmp_path), folder, CENTRE, build=lambda: extract, group=ALONE)

    said = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0] for line in said[:2]] == [
        "features of train: 1 of 24",
        "features of train: 2 of 24",
    ]
    assert said[-1].startswith("features of train: 24 pictures, ")


@pytest.mark.parametrize("full", [False, True])
def test_a_full_disk_is_named_with_what_it_lacks_and_what_helps(
    extract: Extractor,
    folder: Watched,
    tmp_path: Path,
    *,
    mount_disk: Callable[[Path, str], Path],
    fill: Callable[[Path], Path],
    full: bool,
) -> None:
    table = open_table(mount_disk(tmp_path / "disk", "64k"))
    if full:
        fill(tmp_path / "disk")

    with pytest.raises(DiskError) as raised:
        ensure_features(table, folder, CENTRE, build=lambda: extract, group=ALONE)

    assert str(raised.value) == (
        "No space left on device: the features of 24 pictures need 24 x 1,280 x 4 bytes = 0.1 MB in "
        f"{table.folder}; put the cache on another disk (--cache or TRAINER_CACHE_DIR), give the job a "
        "larger one (--volume-gb), or do without (--feature-cache false)"
    )
    assert not list(table.folder.glob(".*.partial"))


def test_pytorch_gives_the_same_features_and_leaves_its_caller_alone(
    extract: Extractor, folder: Watched
) -> None:
    other = gpu_extractor(network(), VIEWS, device=torch.device("cpu"), precision=torch.float32, workers=0)
    expected = np.concatenate([feature for _, feature, _ in extract(folder, range(24), CENTRE)])

    for places, features, _ in other(folder, range(24), CENTRE):
        assert not torch.is_inference_mode_enabled()
        assert features == pytest.approx(expected[places], abs=1e-3)


class SmallMemory(nn.Sequential):
    """A backbone that holds no more than five pictures at once."""

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        answer: Tensor = super().forward(images)
        return answer


def test_a_gpu_without_room_for_a_batch_gives_the_same_features(folder: Watched) -> None:
    def features(small: bool) -> list[npt.NDArray[np.float32]]:
        model = network()
        if small:
            model.backbone.__class__ = SmallMemory
        device = torch.device("cpu")
        extract = gpu_extractor(model, VIEWS, device=device, precision=torch.float32, workers=0)
        return [features for _, features, _ in extract(folder, range(24), CENTRE)]

    assert np.concatenate(features(small=True)) == pytest.approx(
        np.concatenate(features(small=False)), abs=1e-5
    )


HOST = """
import hashlib, sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from trainer.distributed import process_group
from trainer.extraction import ensure_features
from trainer.features import FeatureTable

rank, port, cache = sys.argv[1], sys.argv[2], Path(sys.argv[3])
digests = [hashlib.sha256(bytes([number])).digest() for number in range(10)]
environment = {
    "RANK": rank, "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "GROUP_RANK": rank,
    "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
}
table = FeatureTable(cache, backbone="net", width=1, identity={})
folder = SimpleNamespace(digests=digests, root=Path("train"))

def extract(folder, places, number):
    for place in places:
        yield [place], np.array([[place]], np.float32), np.array([[0.0, 1.0]])

with process_group(environment, device_type="cpu") as group:
    found = ensure_features(table, folder, 0, build=lambda: extract, group=group)
    print(found.rows(range(10)).flatten().tolist())
"""


def test_hosts_share_the_work_and_each_has_all_of_it(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    hosts = [
        subprocess.Popen(
            [sys.executable, "-c", HOST, str(rank), str(port), str(tmp_path / str(rank))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]

    for host in hosts:
        output, errors = host.communicate(timeout=300)
        assert host.returncode == 0, errors
        assert output.splitlines()[-1] == str([float(place) for place in range(10)])
        assert "features of train: 5 pictures" in errors

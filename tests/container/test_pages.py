"""The commands of README.md and of the pages of docs named in ORDER are run as they stand.

One folder for all, in that order; what a page has made the next one finds. To add a command, write it
down; what this machine has something else for is in STAND_INS. docs/operations.md is run in tests/aws,
docs/local-mode.md in tests/local_mode.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import docker
import pytest
import real_registry
from project import SERVE, TAG

import drawn
import pages
from launcher.drawings import COATS
from pages import Block

ORDER = (
    "README.md",
    "docs/artifact.md",
    "docs/doctor.md",
    "docs/training.md",
    "docs/debugging.md",
    "docs/tuning.md",
)
# Headings of which another test runs the commands, and why.
NOT_HERE = {
    "Many machines": "it changes this machine's database server; test_shared_study.py starts one for itself",
    "What it costs": "test_costs.py runs it in one process, and holds the page's figures against it",
}
# `later PORT COMMAND`: start what ends with Ctrl-C only, and go on once it answers.
PRELUDE = """
trap 'kill $(jobs -p) 2>/dev/null || :; wait' EXIT
later() {
  local port=$1; shift
  "$@" &
  for _ in {1..240}; do
    curl --silent --max-time 5 --output /dev/null "http://127.0.0.1:$port/ping" && return
    sleep 0.5
  done
  return 1
}
"""
STAND_INS = {
    "make demo ": ": ",  # the fixture `demo` of these tests
    "make test ": "make --dry-run test ",  # which is what runs this
    "make data ": "python scripts/prepare_data.py --url $MIRROR/dogImages.zip --classes $CLASSES ",
    "make weights ": "python scripts/fetch_weights.py --url $MIRROR/$WEIGHTS_FILE --output weights ",
    "make serve ": "later $PORT make serve ",
    "make ui ": "later $UI_PORT make ui ",
    "make build push ": 'make push TAG=pages IMAGES="dog-breeds-train:pages dog-breeds-serve:pages" ',
    "make setup-account ": "python scripts/setup_account.py --dry-run ",  # tests/aws makes one
    "doctor.py --data ../dogs": "doctor.py --data data/drawn || [ $? -eq 3 ]",  # two of them cannot be read
    "../dogs": "data/drawn",
    "$PWD/dogs": "$PWD/data/drawn/test",
    "runs/<search>/best.json": '"$(ls runs/*/best.json)"',
    "docker run --rm -p 8080:8080": "later $PORT docker run --rm -p $PORT:8080",
    "127.0.0.1:8080": "127.0.0.1:$PORT",
    "curl -H": "curl --fail --silent --show-error -H",
    "dog.jpg": "$(find data/drawn -name '*.jpg' -print -quit)",
    'model:ro" dog-breeds-serve': f'model:ro" {SERVE}',
    "  dog-breeds-serve predict": f"  {SERVE} predict",
    "doctor.py dog-breeds-serve": f"doctor.py {SERVE}",
    # This machine may lack what AWS needs.
    "make doctor ": "{ make doctor || [ $? -eq 2 ]; } ",
    "doctor.py --environment": "doctor.py --environment || [ $? -ge 3 ]",
    # ResNet50's weights cannot be had everywhere.
    "launch_training.py --data": "launch_training.py --backbone efficientnet_lite0 --data",
}


# Where a card's commands are run: beside the archive, in runs/<job>/output.
CARD_STAND_INS = STAND_INS | {"photo.jpg": "$(find ../../../data/drawn -name '*.jpg' -print -quit)"}


@dataclass(frozen=True)
class Place:
    """Where the pages' commands are run, and what their environment has besides."""

    folder: Path
    variables: dict[str, str]


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The two downloads from a server of this machine: drawings, and weights that are few."""
    folder = tmp_path_factory.mktemp("mirror")
    photographs = drawn.whole(folder / "dogImages")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file in photographs.rglob("*.*"):
            archive.write(file, file.relative_to(folder))
    (folder / "dogImages.zip").write_bytes(content.getvalue())
    weights = f"resnet50-{hashlib.sha256(b'weights').hexdigest()[:8]}.pth"
    (folder / weights).write_bytes(b"weights")
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        yield {"MIRROR": address, "CLASSES": str(len(COATS)), "WEIGHTS_FILE": weights}
        server.shutdown()


@pytest.fixture(scope="module")
def place(
    images: docker.DockerClient, mirror: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """A folder that looks like the checkout, two free ports, and a registry with small images to push."""
    folder = pages.linked_checkout(tmp_path_factory.mktemp("pages"))
    with (
        real_registry.started(tmp_path_factory.mktemp("registry")) as (address, _),
        real_registry.small_image(images, "dog-breeds-train", "pages"),
        real_registry.small_image(images, "dog-breeds-serve", "pages"),
    ):
        ports = {name: str(real_registry.free_port()) for name in ("PORT", "UI_PORT")}
        alone = {
            "AWS_REGION": "eu-central-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }  # and nobody's credentials
        settings = {"REGISTRY": address, "TAG": TAG, "BROWSER": "true", "EPOCHS": "2"}
        yield Place(folder, mirror | ports | alone | settings)


def every_block() -> list[Block]:
    """Return the blocks of all pages, in the order in which they are run."""
    return [block for page in ORDER for block in pages.blocks(pages.ROOT / page, "sh", "python")]


@pytest.mark.parametrize("block", every_block(), ids=lambda block: f"{block.page}-{block.heading}")
def test_the_commands_of_a_page_succeed(place: Place, block: Block) -> None:
    if block.heading in NOT_HERE:
        pytest.skip(NOT_HERE[block.heading])
    commands = PRELUDE + block.text if block.language == "sh" else f"python - <<'END'\n{block.text}END\n"

    code, output = pages.run(commands, place.folder, STAND_INS, **place.variables)

    assert code == 0, output


def test_the_commands_of_a_card_serve_its_model(place: Place) -> None:
    card = next((place.folder / "runs").glob("*/model_card.md"))  # later pages have trained others
    (block,) = pages.blocks(card, "sh")

    code, output = pages.run(PRELUDE + block.text, card.parent / "output", CARD_STAND_INS, **place.variables)

    assert code == 0, output
    assert '"predictions"' in output


def test_what_stands_in_is_of_the_pages() -> None:
    written = "".join(block.text for block in every_block())

    assert not [word for word in STAND_INS if word not in written]
    assert not NOT_HERE.keys() - {block.heading for block in every_block()}

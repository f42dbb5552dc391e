"""docs/operations.md is run: each block of commands in its order, against one account on this machine.

To add a step, write it down in the page. What stands in for something that this machine does not have is in
STAND_INS; what the platform does by itself meanwhile is in MEANWHILE, under the section's heading.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cloud import Answer, Cloud
from endpoint_life import EndpointLife
from small_endpoint import SmallEndpoint

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/operations.md"
SECTION = re.compile(r"^## (?P<heading>.+)\n(?P<text>(?:(?!## ).*\n?)*)", re.MULTILINE)
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What the commands write and read is not the checkout's own.
OWN = {"runs", "data", "build"}

pytestmark = pytest.mark.xdist_group("whole-life")  # one process, since all is run once

# Words of the page, and what this machine has in their place.
STAND_INS: dict[str, str] = {
    "dog.jpg": "docs/images/ui.png",
    "dogImages/test": "docs",  # a folder with a folder of pictures
}


def a_trial(cloud: Cloud) -> None:
    """Moto lists no trials of a search and no prices: one that has learned something, for nothing."""
    trial = {
        "TrainingJobName": "dogs-search-001-abcd",
        "TrainingJobArn": "arn:aws:sagemaker:eu-central-1:123456789012:training-job/dogs-search-001-abcd",
        "CreationTime": 1_795_000_000,
        "TrainingJobStatus": "Completed",
        "TunedHyperParameters": {"learning-rate": "0.01", "batch-size": "32", "epochs": "3"},
        "FinalHyperParameterTuningJobObjectiveMetric": {"MetricName": "validation:accuracy", "Value": 0.86},
    }
    listed = Answer({"TrainingJobSummaries": [trial]})
    cloud.replies |= {
        "sagemaker:ListTrainingJobsForHyperParameterTuningJob": lambda _: listed,
        "pricing:GetProducts": lambda _: Answer({"PriceList": []}),
    }


def a_job_that_was_billed(cloud: Cloud) -> None:
    """Moto's jobs are over at once and were not billed."""
    billed = {"TrainingTimeInSeconds": 1200, "BillableTimeInSeconds": 400}
    cloud.edits["sagemaker:DescribeTrainingJob"] = lambda answer: answer | billed


def serving(cloud: Cloud, *names: str) -> None:
    """Answer for endpoints, or variants of them, until this process ends."""
    for name in names:
        cloud.endpoints[name] = SmallEndpoint().__enter__().url


def an_endpoint(cloud: Cloud) -> None:
    """Moto updates no endpoints, and what it has answers nothing."""
    EndpointLife(cloud, "eu-central-1")
    serving(cloud, "dog-breeds")


def two_variants(cloud: Cloud) -> None:
    """Both of them answer."""
    serving(cloud, "dog-breeds/A", "dog-breeds/B")


# What happens before a section's commands are run, by its heading.
MEANWHILE: dict[str, Callable[[Cloud], None]] = {
    "Tune": a_trial,
    "Train": a_job_that_was_billed,
    "Deploying": an_endpoint,
    "A/B": two_variants,
}


@dataclass(frozen=True)
class Done:
    """A block of commands that was run."""

    section: str
    code: int
    output: str  # of all its commands, each behind a `+`


@pytest.fixture(scope="module")
def life(lasting_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> list[Done]:
    """Run all blocks of the page up to the first that fails."""
    checkout = linked_checkout(tmp_path_factory.mktemp("life"))
    done: list[Done] = []
    for section in SECTION.finditer(PAGE.read_text(encoding="utf-8")):
        MEANWHILE.get(section["heading"], lambda _: None)(lasting_cloud)
        for block in BLOCK.findall(section["text"]):
            done.append(run(section["heading"], block, checkout))
            if done[-1].code:
                return done
    return done


def linked_checkout(folder: Path) -> Path:
    """Make a folder in which the page's paths lead to this checkout, and results stay out of it."""
    for entry in ROOT.iterdir():
        if entry.name not in OWN:
            (folder / entry.name).symlink_to(entry)
    return folder


def run(section: str, block: str, folder: Path) -> Done:
    for word, stand_in in STAND_INS.items():
        block = block.replace(word, stand_in)
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", block],
        cwd=folder,
        env=os.environ | {"PATH": programs, "COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    return Done(section, done.returncode, done.stdout)


def test_every_command_of_the_page_succeeds(life: list[Done]) -> None:
    last = life[-1]

    assert last.code == 0, f"{last.section}:\n{last.output}"


def test_what_stands_in_or_happens_meanwhile_is_of_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert not [word for word in STAND_INS if word not in page]
    assert not MEANWHILE.keys() - {section["heading"] for section in SECTION.finditer(page)}

#!/usr/bin/env python3
"""Tell whether an image would work on SageMaker, or what this machine, a model or photographs lack.

  python scripts/doctor.py IMAGE --model runs/latest/output/model.tar.gz
  python scripts/doctor.py 127.0.0.1:5000/image:1.0      # its manifest is asked of the registry
  python scripts/doctor.py --environment                 # Docker, disk, memory, the AWS account, …
  python scripts/doctor.py --artifact runs/latest/output/model.tar.gz
  python scripts/doctor.py --data ../dogs

Checks only, unless --fix is given, which mends what is marked so in docs/doctor.md. An image is any image of
the Docker engine: its containers get no network, no files of this machine, few rights and bounded memory.

Exit codes: 0 nothing was found, or notes alone; 3 warnings; 4 an error: it would not work, or would harm;
1 a check could not be carried out, and the others found nothing; 2 wrong usage.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from launcher import arguments as command
from launcher import backends, docker_engine, requests
from launcher.command_line import run, tell
from launcher.doctor import catalogue, report
from launcher.doctor.check import Check, Subject
from launcher.doctor.examination import Result, examine, exit_code
from launcher.doctor.examined_image import ExaminedImage, Given
from launcher.doctor.examined_machine import Machine
from launcher.doctor.examined_photographs import Photographs
from launcher.doctor.placed import PlacedModel, unpacked
from launcher.errors import SettingsError
from launcher.model_source import archive_of

# What is examined, and the options that have to do with it.
TAKES = {
    "image": {"model", "training", "memory", "network"},
    "environment": {"settings", "fix"},
    "artifact": {"backend"},
    "data": {"backend"},
}
ENGINE_TIMEOUT = 900  # seconds without a word: a large image is copied before the first of its layers comes


def parse_arguments() -> argparse.Namespace:
    """Read the command line; raises SettingsError for options that have nothing to do with what is named."""
    parser = command.parser(__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("image", nargs="?", metavar="IMAGE", help="of this machine's engine")
    what.add_argument("--environment", action="store_true", help="this machine and its AWS account")
    what.add_argument("--artifact", type=Path, metavar="FOLDER|model.tar.gz", help="a model")
    what.add_argument("--data", type=Path, metavar="FOLDER", help="photographs: train/, valid/ and test/")
    given = parser.add_argument_group("what an image is examined with")
    given.add_argument("--model", type=Path, metavar="FOLDER|model.tar.gz", help="what it serves")
    given.add_argument("--training", type=Path, metavar="FOLDER", help="what it trains on, to be stopped")
    given.add_argument(
        "--memory", type=command.memory, default="4g", metavar="SIZE", help="of each of its containers"
    )
    given.add_argument(
        "--network",
        action="store_true",
        help="let it have one where it does not start without: if you trust it",
    )
    command.add_backend(parser)
    command.add_settings(parser)
    parser.add_argument("--fix", action="store_true", help="mend what can safely be mended")
    parser.add_argument("--json", action="store_true", help="print all results as JSON")
    found, named = command.parse_given(parser)
    if not (subject := named & TAKES.keys()):
        parser.error("name an IMAGE, or what else is examined: --environment, --artifact or --data")
    for kind in subject:
        useless = named - TAKES[kind] - {kind, "json"}
        command.refuse(parser, useless, f"not with {command.flags(parser, [kind])}")
    return found


def main() -> int:
    """Examine, report, and return the worst."""
    arguments = parse_arguments()
    subject, results = examined(arguments)
    if arguments.json:
        print(report.as_json(results, subject))
    else:
        report.show(results, subject)
    return exit_code(results)


def examined(arguments: argparse.Namespace) -> tuple[str, list[Result]]:
    """Return what was examined, and the results."""
    fix = arguments.fix
    if arguments.environment:
        machine = Machine(command.account_of(arguments))
        return "this machine", watched(catalogue.MACHINE, machine, fix=fix)
    if arguments.artifact:
        backend = backends.choose(arguments.backend, tell)
        model = PlacedModel(existing_model(arguments.artifact), backend, requests.SERVING_IMAGE)
        return str(arguments.artifact), watched(catalogue.MODEL, model, fix=fix)
    if arguments.data:
        name = backends.choose(arguments.backend, tell).name
        photographs = Photographs(existing_folder(arguments.data), name, requests.TRAINING_IMAGE)
        return str(arguments.data), watched(catalogue.DATA, photographs, fix=fix)
    return arguments.image, examine_image(arguments)


def examine_image(arguments: argparse.Namespace) -> list[Result]:
    """Find the image, unpack its model, and examine it."""
    if sys.platform != "linux":
        raise SettingsError("an image is examined on Linux, where its containers can be reached directly")
    client = docker_engine.connect(timeout=ENGINE_TIMEOUT)
    image = docker_engine.find(client, arguments.image)
    training = arguments.training and existing_folder(arguments.training)
    if arguments.model is None:
        given = Given(None, training, arguments.network, arguments.memory)
        with ExaminedImage(client, arguments.image, image, given) as subject:
            return watched(catalogue.IMAGE, subject, fix=arguments.fix)
    with unpacked(existing_model(arguments.model)) as model:
        given = Given(model, training, arguments.network, arguments.memory)
        with ExaminedImage(client, arguments.image, image, given) as subject:
            return watched(catalogue.IMAGE, subject, fix=arguments.fix)


def existing_model(path: Path) -> Path:
    """Return a model's place: its folder or archive, which a job's folder stands for, too.

    Raises SettingsError where there is neither.
    """
    place = archive_of(path) if archive_of(path).exists() else path
    if not place.is_file():  # a pipe would be waited for
        return existing_folder(place, "neither a folder nor an archive")
    return place.resolve()


def existing_folder(path: Path, otherwise: str = "no folder") -> Path:
    """Return a folder that is there, whole; raises SettingsError for any other."""
    if not path.is_dir():
        raise SettingsError(f"{path} is {otherwise}" if path.exists() else f"{path} does not exist")
    return path.resolve()


def watched(checks: Iterable[Check[Subject]], subject: Subject, *, fix: bool) -> list[Result]:
    """Carry checks out; a terminal shows which has just been."""
    console = Console(stderr=True)
    results = []
    with console.status("examining") if console.is_terminal else console:
        for result in examine(checks, subject, fix=fix):
            results.append(result)
            if console.is_terminal:
                tell(report.in_short(result))
    return results


if __name__ == "__main__":
    sys.exit(run(main))

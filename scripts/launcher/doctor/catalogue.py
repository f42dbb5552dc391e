"""Every check, in the order in which it is carried out and docs/doctor.md lists it."""

from launcher.doctor.check import Check
from launcher.doctor.examined_image import ExaminedImage
from launcher.doctor.examined_machine import Machine
from launcher.doctor.examined_photographs import Photographs
from launcher.doctor.files import (
    contradictions,
    copies,
    enough,
    layout,
    model_pickles,
    pictures,
    serves,
    unpacks,
)
from launcher.doctor.image import (
    architecture,
    bind_to_port,
    connection,
    entrypoint,
    failure_file,
    healthy,
    invocations,
    labels,
    manifest,
    multi_model,
    network,
    pickles,
    ping_early,
    ping_late,
    ping_time,
    secrets,
    size,
    stop_serving,
    stop_training,
    train_serves,
    user,
    words,
)
from launcher.doctor.machine import clock, compose, credentials, disk, docker, memory, quotas, region, role
from launcher.doctor.placed import PlacedModel

IMAGE: list[Check[ExaminedImage]] = [
    entrypoint.CHECK,
    words.CHECK,
    train_serves.CHECK,
    architecture.CHECK,
    manifest.CHECK,
    size.CHECK,
    secrets.CHECK,
    labels.CHECK,
    healthy.CHECK,
    connection.CHECK,
    ping_time.CHECK,
    ping_early.CHECK,
    ping_late.CHECK,
    invocations.CHECK,
    bind_to_port.CHECK,
    multi_model.CHECK,
    pickles.CHECK,
    stop_serving.CHECK,
    stop_training.CHECK,
    failure_file.CHECK,
    network.CHECK,
    user.CHECK,
]
MACHINE: list[Check[Machine]] = [
    docker.CHECK,
    compose.CHECK,
    disk.CHECK,
    memory.CHECK,
    region.CHECK,
    credentials.CHECK,
    clock.CHECK,
    role.CHECK,
    quotas.CHECK,
]
MODEL: list[Check[PlacedModel]] = [unpacks.CHECK, model_pickles.CHECK, serves.CHECK]
DATA: list[Check[Photographs]] = [
    layout.CHECK,
    pictures.CHECK,
    enough.CHECK,
    copies.CHECK,
    contradictions.CHECK,
]

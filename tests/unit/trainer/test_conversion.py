"""OpenVINO networks: that the process stays one that can be stopped."""

import os
import signal

import torch

from trainer.conversion import compile_network, convert


def test_a_signal_still_finds_its_handler_when_compiled_networks_are_gone() -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: received.append(number))
    network = convert(torch.nn.Linear(2, 2), torch.zeros(1, 2), shape=[1, 2])
    first, second = (compile_network(network, precision=torch.float32, threads=1) for _ in range(2))

    del first
    del second
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)

    assert received == [signal.SIGUSR1]

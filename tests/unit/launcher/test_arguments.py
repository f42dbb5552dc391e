"""Options as a program gives them, such as the notebook: what the scripts' command lines make of them."""

import argparse
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from launcher import asking_arguments, serving_arguments, training_arguments
from launcher.errors import SettingsError


def parsed(module: ModuleType, *line: str) -> argparse.Namespace:
    """What a script reads of a command line."""
    parser = argparse.ArgumentParser()
    module.add(parser)
    return module.parse(parser, line)


@pytest.mark.parametrize(
    ("module", "named", "line"),
    [
        (serving_arguments, {}, ""),
        (serving_arguments, {"model": Path("a"), "port": 0, "cpus": 1.5}, "--model a --port 0 --cpus 1.5"),
        (serving_arguments, {"variant": ["A=a", "B=b"]}, "--variant A=a --variant B=b"),
        (serving_arguments, {"backend": "aws", "async": True}, "--backend aws --async"),
        (serving_arguments, {"name": None, "serverless": False, "memory": "2g"}, "--memory 2g"),
        (training_arguments, {"data": "d", "batch_size": 32}, "--data d --batch-size 32"),
        (training_arguments, {"data": "d", "set": ["a=1", "b=-1"]}, "--data d --set a=1 --set b=-1"),
        (training_arguments, {"data": "d", "learning_rate": -1}, "--data d --learning-rate=-1"),
    ],
)
def test_options_are_read_as_on_a_command_line(module: Any, named: dict[str, object], line: str) -> None:
    assert module.options(**named) == parsed(module, *line.split())


def test_words_come_first_and_a_tuple_is_the_values_of_one_option() -> None:
    given = asking_arguments.options("a.jpg", Path("b c"), compare=("http://a", "http://b"), clients=2)

    assert given == parsed(
        asking_arguments, "a.jpg", "b c", "--compare", "http://a", "http://b", "--clients", "2"
    )


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"backend": "gcp"}, "argument --backend: invalid choice: 'gcp'"),
        ({"colour": "red"}, "unrecognized arguments: --colour=red"),
        ({"port": "the usual"}, "argument --port: 'the usual' is no whole number from 0 to 65535"),
        ({"variant": ["a"]}, "argument --variant: 'a' is not of the form NAME=MODEL"),
        ({"backend": "process", "serverless": True}, "--serverless: only with --backend aws"),
    ],
)
def test_what_a_script_would_end_at_is_raised(named: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        serving_arguments.options(**named)

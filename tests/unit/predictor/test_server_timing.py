"""The `Server-Timing` header: how long the stages of a request took."""

import re

import pytest
from running_server import RunningServer

from predictor.stages import collect, server_timing, stage


def test_a_stage_that_runs_twice_is_added_up() -> None:
    with collect() as durations:
        with stage("decode"):
            pass
        first = durations["decode"]
        with stage("decode"):
            pass
    assert durations["decode"] > first


def test_a_stage_that_fails_is_measured_too() -> None:
    with collect() as durations, pytest.raises(KeyError), stage("infer"):
        raise KeyError
    assert set(durations) == {"infer"}


def test_the_header_gives_milliseconds() -> None:
    assert server_timing({"decode": 2.104, "infer": 11.0}) == "decode;dur=2.10, infer;dur=11.00"


def test_the_answer_tells_its_stages(server: RunningServer, jpeg: bytes) -> None:
    answer = server.ask(jpeg, Content_Type="image/jpeg")
    pattern = r"decode;dur=\d+\.\d\d, infer;dur=\d+\.\d\d, encode;dur=\d+\.\d\d"
    assert re.fullmatch(pattern, answer.headers["server-timing"])

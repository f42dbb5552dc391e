"""smdebug 1.0.34, the last of 2023, on today's NumPy and protobuf: the one door through which it is imported.

Two words of it have gone out of date. Its protobuf classes were generated for a protobuf of 2020, which only
the pure Python implementation still reads; and `ndarray.tostring` is `tobytes` now. Called by
`trainer.debugger`, `trainer.rules` and what reads a trial; importing it takes about a second.
"""
# ruff: noqa: E402 - the environment has to be set before protobuf is imported

import os
import sys
import warnings
from importlib.metadata import version
from typing import Any

from trainer.failures import TrainingError

VERSION = "1.0.34"

if version("smdebug") != VERSION:
    raise TrainingError(
        f"smdebug {version('smdebug')} is installed, and only {VERSION} is known to work: install that one "
        "(a resolver left to itself picks another), or switch it off with debug=false"
    )
if "google.protobuf" not in sys.modules:
    os.environ["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "python"
os.environ.setdefault("SMDEBUG_LOG_LEVEL", "error")  # at its own level it tells of every collection
os.environ.setdefault("SMDEBUG_TRAINING_END_DELAY_REFRESH", "0")  # seconds to wait for a trial that is there

import numpy as np
from google.protobuf.internal import api_implementation
from google.protobuf.message import DecodeError

if api_implementation.Type() != "python":
    raise TrainingError(
        "smdebug needs PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python in the environment before anything "
        "imports protobuf; set it, or switch smdebug off with debug=false"
    )

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # a hundred, about each of its protobuf fields
    from smdebug import SaveConfig, SaveConfigMode
    from smdebug.core import writer as _writer
    from smdebug.core.access_layer.utils import END_OF_JOB_FILENAME
    from smdebug.core.locations import IndexFileLocationUtils, TensorFileLocation, TensorLocation
    from smdebug.core.modes import ModeKeys
    from smdebug.core.reduction_config import ReductionConfig
    from smdebug.core.reductions import REDUCTIONS_PREFIX, reverse_reduction_tensor_name
    from smdebug.core.tensor import Tensor
    from smdebug.core.tfevent import util as _util
    from smdebug.core.tfevent.event_file_reader import EventFileReader
    from smdebug.core.tfevent.index_file_writer import Index
    from smdebug.core.tfevent.proto.event_pb2 import Event
    from smdebug.core.tfevent.proto.summary_pb2 import Summary
    from smdebug.core.tfrecord.record_writer import CHECKSUM_MAGIC_BYTES, masked_crc32c
    from smdebug.core.writer import FileWriter
    from smdebug.exceptions import RuleEvaluationConditionMet, SMDebugError
    from smdebug.pytorch import Hook
    from smdebug.rules import Rule
    from smdebug.rules.rule_invoker import invoke_rule
    from smdebug.trials import create_trial
    from smdebug.trials.trial import Trial

__all__ = [
    "CHECKSUM_MAGIC_BYTES",
    "END_OF_JOB_FILENAME",
    "REDUCTIONS_PREFIX",
    "DecodeError",
    "Event",
    "EventFileReader",
    "FileWriter",
    "Hook",
    "Index",
    "IndexFileLocationUtils",
    "ModeKeys",
    "ReductionConfig",
    "Rule",
    "RuleEvaluationConditionMet",
    "SMDebugError",
    "SaveConfig",
    "SaveConfigMode",
    "Summary",
    "Tensor",
    "TensorFileLocation",
    "TensorLocation",
    "Trial",
    "create_trial",
    "invoke_rule",
    "make_tensor_proto",
    "masked_crc32c",
    "reverse_reduction_tensor_name",
]


class _Array(np.ndarray):
    """An array as smdebug knows it."""

    tostring = np.ndarray.tobytes


def make_tensor_proto(nparray_data: Any, tag: str) -> Any:
    """smdebug's own, of an array that has a `tostring`."""
    return _util.make_tensor_proto(np.asarray(nparray_data).view(_Array), tag)


_writer.make_tensor_proto = make_tensor_proto

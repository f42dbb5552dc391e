"""smdebug 1.0.34, the last of 2023, on today's NumPy and protobuf: the one door through which it is imported.

Two words of it have gone out of date. Its protobuf classes were generated for a protobuf of 2020, which only
the pure Python implementation still reads; and `ndarray.tostring` is `tobytes` now. Called by
`trainer.debugger`, `trainer.rules` and what reads a trial; importing it takes about a second.
"""
# ruff: noqa: E402 - the environment has to be set before protobuf is imported

import os
import sys
from importlib.metadata import version

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

if api_implementation.Type() != "python":
    raise TrainingError(
        "smdebug needs PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python in the environment before anything "
        "imports protobuf; set it, or switch smdebug off with debug=false"
    )

from smdebug import SaveConfig
from smdebug.core import writer as _writer
from smdebug.core.access_layer.utils import END_OF_JOB_FILENAME
from smdebug.core.locations import IndexFileLocationUtils, TensorFileLocation
from smdebug.core.modes import ModeKeys
from smdebug.core.reduction_config import ReductionConfig
from smdebug.core.reductions import REDUCTIONS_PREFIX, reverse_reduction_tensor_name
from smdebug.core.tensor import Tensor
from smdebug.core.tfevent import util as _util
from smdebug.core.tfevent.event_file_reader import EventFileReader
from smdebug.core.tfevent.event_file_writer import EventFileWriter
from smdebug.core.writer import FileWriter
from smdebug.exceptions import RuleEvaluationConditionMet, SMDebugError
from smdebug.pytorch import Hook
from smdebug.rules import Rule
from smdebug.rules.rule_invoker import invoke_rule
from smdebug.trials import create_trial
from smdebug.trials.trial import Trial

__all__ = [
    "END_OF_JOB_FILENAME",
    "REDUCTIONS_PREFIX",
    "EventFileReader",
    "EventFileWriter",
    "FileWriter",
    "Hook",
    "IndexFileLocationUtils",
    "ModeKeys",
    "ReductionConfig",
    "Rule",
    "RuleEvaluationConditionMet",
    "SMDebugError",
    "SaveConfig",
    "Tensor",
    "TensorFileLocation",
    "Trial",
    "create_trial",
    "invoke_rule",
    "reverse_reduction_tensor_name",
]


class _Array(np.ndarray):
    """An array as smdebug knows it."""

    tostring = np.ndarray.tobytes


_make_tensor_proto = _util.make_tensor_proto


def _make_tensor_proto_today(nparray_data, tag):  # type: ignore[no-untyped-def]
    return _make_tensor_proto(np.asarray(nparray_data).view(_Array), tag)


_writer.make_tensor_proto = _make_tensor_proto_today

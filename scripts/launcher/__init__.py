"""The package behind the scripts, which docs/architecture.md describes."""

import sys
from pathlib import Path

# A script's own folder comes first on its path. There lies invoke.py, which paramiko, and with it docker,
# would take for the library of that name; this package is found without.
if sys.path[0] == str(Path(__file__).parents[1]):
    del sys.path[0]

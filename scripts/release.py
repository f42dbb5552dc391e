#!/usr/bin/env python3
"""Make a release: version, changelog, one commit, one tag. `make release` builds its images as well.

python scripts/release.py 1.2.0
"""

import argparse
import sys
from pathlib import Path

from launcher.command_line import run
from launcher.releases import release


def main() -> int:
    """Parse, call, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("version", help="three numbers, above the last ones: 1.2.0")
    print(release(Path.cwd(), parser.parse_args().version))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))

#!/usr/bin/env python3
"""Make what the project needs in an AWS account: a bucket, two repositories for images, an execution role.

  python scripts/setup_account.py                  # again: says what is there, and mends what has drifted
  python scripts/setup_account.py --dry-run        # every request, as JSON
  python scripts/setup_account.py --print-policies > policies.json
  python scripts/setup_account.py --delete         # while nothing uses it, and the bucket is empty

The names follow from config/settings.toml. What was there before without the project's tag is left alone.
teardown.py takes everything away, whatever is in it. Exit code 1: something of it could not be deleted.
"""

import argparse
import json
import sys

from launcher import account_setup, command_line, policies, removal
from launcher import arguments as command


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    command.add_settings(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--print-policies",
        action="store_true",
        help="only print what the execution role, the people who work, and the one who sets up may do",
    )
    what.add_argument("--delete", action="store_true", help="take the bucket, the images and the role away")
    parser.add_argument("--dry-run", action="store_true", help="print the requests and do nothing")
    found = parser.parse_args()
    found.dry_run |= found.print_policies  # it asks nothing of AWS either: an account need not be known
    return found


def main() -> int:
    """Make, mend, print or take away."""
    arguments = parse_arguments()
    account = command.account_of(arguments)
    if arguments.print_policies:
        print(json.dumps(policies.all_of(account), indent=2))
    elif arguments.delete:
        return removal.carry_out(account, lambda: account_setup.to_delete(account), dry_run=arguments.dry_run)
    elif arguments.dry_run:
        command.show([call.shown for call in account_setup.calls(account)])
    else:
        account_setup.repair(account, print)
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))

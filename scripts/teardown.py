#!/usr/bin/env python3
"""Take away all that the project has in its AWS account, and prove that nothing is left.

  python scripts/teardown.py                       # lists it, asks, deletes it, lists it anew
  python scripts/teardown.py --dry-run             # every request, as JSON
  python scripts/teardown.py --yes --keep-data     # without asking, all but the bucket

Only what carries the project's tag is touched. After Ctrl-C, or any other end, the same command goes on; what
was not deleted yet is said. The records of jobs that have ended stay, as AWS has it; they cost nothing. Exit
code 1: something is left, and why.
"""

import argparse
import sys
from dataclasses import replace

from launcher import arguments as command
from launcher import command_line, inventory, removal
from launcher.account import Account
from launcher.errors import SettingsError
from launcher.things import Thing


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    command.add_settings(parser)
    parser.add_argument("--keep-data", action="store_true", help="leave the bucket with all that is in it")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="print the requests and do nothing")
    return parser.parse_args()


def main() -> int:
    """List, ask, delete, list anew."""
    arguments = parse_arguments()
    account = command.account_of(arguments)

    def find() -> list[Thing]:
        return [
            replace(each, calls=(), empty=None, is_kept=True)
            if arguments.keep_data and each.is_data
            else each
            for each in inventory.things(account)
        ]

    if not arguments.dry_run and not arguments.yes and not agreed(account, find()):
        print("nothing was deleted")
        return 1
    return removal.carry_out(account, find, dry_run=arguments.dry_run)


def agreed(account: Account, found: list[Thing]) -> bool:
    """Show what would go, and ask."""
    if all(thing.is_kept for thing in found):
        return True
    project = account.settings.project
    print(f"{project} has in account {account.id}, {account.region}:")
    print("\n".join(f"  {thing}{', which is kept' if thing.is_kept else ''}" for thing in found))
    if not sys.stdin.isatty():
        raise SettingsError("nobody can be asked here: --yes deletes all of it")
    question = f"Type {project} to delete all of it, and what else is made with its tag meanwhile: "
    try:
        return input(question).strip() == project
    except EOFError:  # Ctrl-D
        print()
        return False


if __name__ == "__main__":
    sys.exit(command_line.run(main))

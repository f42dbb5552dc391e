"""Bringing a data folder to S3. Called by prepare_data.py and by the notebook."""

from collections.abc import Collection
from pathlib import Path

from launcher import arguments, command_line, datasets, pictures, s3_upload
from launcher.account import Account
from launcher.errors import SettingsError
from launcher.s3 import Prefix
from launcher.s3_upload import Copy


def upload(folder: Path, to: str | None, account: Account, *, without: Collection[str], dry_run: bool) -> str:
    """Make the copy of a data folder like it, print and return its URI, or with `dry_run` print the requests.

    Of the folder, what is `without` stays here. Raises SettingsError where another thing's files or another
    folder's copy lie and for a name that S3 cannot have, and WorkFailed where the copy could not be finished.
    """
    prefix = Prefix(to or account.uri("data", folder.resolve().name), account.client("s3"))
    files = names(folder)
    datasets.require_utf8(folder, [prefix.uri, *files], "all in S3")
    copy = Copy(prefix, s3_upload.encryption(account.settings.storage.kms_key))
    plan = copy.plan(folder, [name for name in files if name not in without])
    if plan.foreign:
        raise SettingsError(
            f"{prefix.uri} has {len(plan.foreign):,} files that are not from here, such as "
            f"{plan.foreign[0]}, and a job would read them too: choose another --to, or remove them"
        )
    if plan.is_another:
        raise SettingsError(
            f"{prefix.uri} has the copy of another folder: {plan.known - len(plan.keep):,} of its "
            f"{plan.known:,} files are not in {folder}, or are others there. Choose another --to, such as "
            f"{prefix.uri}-2, or give that copy up: aws s3 rm --recursive {prefix.uri}/"
        )
    command_line.tell(f"{prefix.uri}: {plan}")
    if dry_run:
        arguments.show(copy.operations(plan))
    else:
        copy.carry_out(plan, folder)
        print(prefix.uri)
    return prefix.uri


def names(folder: Path) -> list[str]:
    """Return the pictures of the three splits, relative to the folder."""
    return [
        file.relative_to(folder).as_posix()
        for split in datasets.SPLITS
        for file in pictures.below(folder / split)
    ]

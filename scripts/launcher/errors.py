"""What can go wrong for a person, and the exit code each case ends in.

Raised throughout the launcher, turned into one message and one exit code by `launcher.command_line`.
"""


class SettingsError(Exception):
    """A wrong argument or a machine that is not ready: nothing was started. Exit code 2."""


class WorkStopped(Exception):  # noqa: N818 - it is said to people as "the work was stopped"
    """Work was stopped before its end, without a fault: the same command continues it. Exit code 75."""


class WorkFailed(Exception):  # noqa: N818 - it is said to people as "the work failed"
    """Work was started and failed, or was answered only in part. Exit code 1."""

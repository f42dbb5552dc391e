"""Where a study is kept: SQLite in the search's own folder, or a database that several machines share.

Called by `study`. A URL with a password is never shown; what a database refuses becomes one line that says
what to do.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

from launcher.errors import SettingsError

FILE = "study.db"
# A trial whose process says nothing for so long is lost, and is run again.
HEARTBEAT_SECONDS, LOST_SECONDS = 5, 30
DRIVERS = ("postgresql+psycopg", "mysql+pymysql")  # of the group `tune`; others serve where installed
CONNECT_SECONDS = 10  # a host that does not answer is given up; drivers wait for minutes, or for ever
# A server in local time would make every heartbeat an hour older when summer begins.
TIME_IN_UTC = {
    "postgresql": "SET TIME ZONE 'UTC'",
    "mysql": "SET time_zone = '+00:00'",
    "mariadb": "SET time_zone = '+00:00'",
}


def in_folder(folder: Path) -> str:
    """Return the storage URL of a search that keeps its study in its own folder."""
    return f"sqlite:///{(folder / FILE).resolve()}"


def parsed(url: str) -> URL:
    """Read a storage URL, and bound how long connecting may take; raises SettingsError, without the URL."""
    try:
        place = make_url(url)
    except (SQLAlchemyError, ValueError):
        raise SettingsError(
            "the storage URL cannot be read: it is such as postgresql+psycopg://user:password@host/database, "
            "where @, : and / of a password are written %40, %3A and %2F"
        ) from None
    if place.drivername in DRIVERS and "connect_timeout" not in place.query:
        return place.update_query_dict({"connect_timeout": str(CONNECT_SECONDS)})
    return place


def opened(url: URL) -> RDBStorage:
    """Connect to it, and make the tables of a study where they are not there."""
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)  # the table and our own messages say all of it
    with experiments_allowed():
        storage = RDBStorage(
            url.render_as_string(hide_password=False),
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=LOST_SECONDS,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
        )
    if storage.engine.dialect.name == "sqlite":
        _take_turns(storage.engine)
    elif storage.engine.dialect.name in TIME_IN_UTC:
        _tell_the_time_in_utc(storage.engine)
    return storage


def _take_turns(engine: Engine) -> None:
    """Make a transaction hold SQLite from its beginning.

    Optuna reads which trial is next and then takes it; for SQLite, which knows no row locks, two tuners would
    read the same. https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#pysqlite-transaction-behavior
    """

    def connect(connection: Any, _: object) -> None:
        connection.isolation_level = None

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", begin)
    engine.dispose()  # connections from before


def _tell_the_time_in_utc(engine: Engine) -> None:
    statement = TIME_IN_UTC[engine.dialect.name]

    def connect(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute(statement)
        cursor.close()
        connection.commit()

    event.listen(engine, "connect", connect)
    engine.dispose()  # connections from before


@contextmanager
def experiments_allowed() -> Iterator[None]:
    """Use what Optuna calls experimental, or will give up; its version is pinned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield


@contextmanager
def explained(url: URL) -> Iterator[None]:
    """Turn what a database or its driver refuses into a SettingsError.

    A TypeError is a driver's answer to an option that it does not know, a RuntimeError Optuna's to the tables
    of another version.
    """
    try:
        yield
    except (SQLAlchemyError, StorageInternalError, ImportError, TypeError, RuntimeError) as error:
        what = f"the study in {shown(url)} cannot be opened: {first_line(error)}"
        raise SettingsError(what + _advice(url, error)) from None


def _advice(url: URL, error: Exception) -> str:
    if isinstance(error, ImportError | NoSuchModuleError):
        return f"; {DRIVERS[0]}:// and {DRIVERS[1]}:// have their drivers here (make setup-hpo)"
    if url.get_backend_name() == "sqlite":
        return ""
    return "; is the server running, and are user, password and database of the URL right?"


def fault(error: BaseException | None) -> BaseException | None:
    """Return what the database said, if that was at the root: Optuna's clean-up may fail because of it."""
    while error is not None and not isinstance(error, SQLAlchemyError | StorageInternalError):
        error = error.__cause__ or error.__context__
    return error


def first_line(error: BaseException) -> str:
    """Return what a person should read of it."""
    cause = error.__cause__ or error
    said = getattr(cause, "orig", None) or cause
    return str(said.args[-1] if said.args else said).partition("\n")[0]  # MySQL's have a number in front


def shown(url: URL) -> str:
    """Return a URL for people: without the password, which may be among its options too."""
    return url.set(query={}).render_as_string(hide_password=True)

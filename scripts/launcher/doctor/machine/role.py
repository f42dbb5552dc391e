"""Jobs and endpoints take a role."""

from collections.abc import Iterator

from launcher import role
from launcher.calls import Call
from launcher.doctor.check import Check, Severity
from launcher.doctor.examined_machine import Machine


def look(machine: Machine) -> Iterator[str]:
    machine.must_have_identity()
    name = machine.account.role.rpartition("/")[2]
    if Call("iam", "GetRole", {"RoleName": name}).ask(machine.account, role.ABSENT) is None:
        yield f"there is no role {name}"


CHECK = Check(
    name="role",
    holds="the execution role is there",
    severity=Severity.WARNING,
    remedy="scripts/setup_account.py makes it, with the bucket and the repositories",
    source="docs/operations.md",
    look=look,
)

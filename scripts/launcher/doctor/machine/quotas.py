"""A new account may have no machine of a kind, until it asks."""

from collections.abc import Iterator

from launcher import aws
from launcher.doctor.check import Check, Severity
from launcher.doctor.examined_machine import Machine


def look(machine: Machine) -> Iterator[str]:
    machine.must_have_identity()
    with aws.explained():
        pages = machine.account.client("service-quotas").get_paginator("list_service_quotas")
        found = {
            quota["QuotaName"]: quota["Value"]
            for page in pages.paginate(ServiceCode="sagemaker")
            for quota in page["Quotas"]
        }
    for name, wanted in machine.wanted_quotas.items():
        if found.get(name, wanted) < wanted:
            yield f"{name}: {found[name]:g}, and the settings ask for {wanted}"


CHECK = Check(
    name="quotas",
    holds="the account may have the settings' machines",
    severity=Severity.WARNING,
    remedy="ask for more in the console of Service Quotas, Amazon SageMaker; it takes a day or so",
    source="https://docs.aws.amazon.com/general/latest/gr/sagemaker.html",
    look=look,
)

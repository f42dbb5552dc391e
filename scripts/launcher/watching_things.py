"""Alarms, dashboards and topics of the project. Called by `inventory`.

A dashboard cannot be tagged: it is known by its name (`Account.owns`).
"""

from collections.abc import Iterator

from launcher.calls import Call
from launcher.tagged import Tagged
from launcher.things import Thing


def alarms(tagged: Tagged) -> Iterator[Thing]:
    """Find alarms; those that are made of others come first."""
    service, listing = "cloudwatch", "describe_alarms"
    for key, kind in (("CompositeAlarms", "CompositeAlarm"), ("MetricAlarms", "MetricAlarm")):
        for alarm in tagged.all(service, listing, key, AlarmTypes=[kind]):
            arn, name = alarm["AlarmArn"], alarm["AlarmName"]
            ask = Call(service, "ListTagsForResource", {"ResourceARN": arn})
            if tagged.own(arn, ask, ("ResourceNotFoundException", "ResourceNotFound")):
                yield Thing("alarm", name, (Call(service, "DeleteAlarms", {"AlarmNames": [name]}),))


def dashboards(tagged: Tagged) -> Iterator[Thing]:
    """Find dashboards by their names."""
    project = tagged.account.settings.project
    for each in tagged.all("cloudwatch", "list_dashboards", "DashboardEntries", DashboardNamePrefix=project):
        name = each["DashboardName"]
        if tagged.account.owns(name):
            yield Thing(
                "dashboard", name, (Call("cloudwatch", "DeleteDashboards", {"DashboardNames": [name]}),)
            )


def topics(tagged: Tagged) -> Iterator[Thing]:
    """Find topics; their subscriptions go with them."""
    for each in tagged.all("sns", "list_topics", "Topics"):
        arn = each["TopicArn"]
        if tagged.own(arn, Call("sns", "ListTagsForResource", {"ResourceArn": arn}), ("ResourceNotFound",)):
            yield Thing("topic", arn.rpartition(":")[2], (Call("sns", "DeleteTopic", {"TopicArn": arn}),))

"""An endpoint of SageMaker: made or updated as a deployment has it, waited for, removed with all of its own.

Called by deploy.py. The requests are those of `deployment`; whatever ends a wait, the work goes on at AWS,
and it is said what that is and how to end it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError

from launcher import aws, aws_errors, aws_log, log_things, tagged, waiting
from launcher.account import Account
from launcher.aws_parts import AwsParts
from launcher.aws_scaling import AwsScaling
from launcher.deployment import Deployment, Operations
from launcher.errors import SettingsError, WorkFailed
from launcher.requests import Request

Description = dict[str, Any]
_BUSY = {"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}


class AwsEndpoint:
    """One endpoint of the account, there or not."""

    def __init__(self, name: str, account: Account, say: Callable[[str], None]) -> None:
        self.name = name
        self._account = account
        self._say = say
        self._sagemaker = account.client("sagemaker")
        self._log_group = f"{log_things.ENDPOINTS}{name}"
        self._parts = AwsParts(name, account)
        self._scaling = AwsScaling(name, account)
        self._began = time.time()
        self._pending: Description = {}  # what it was last seen being changed to
        self._is_rolled_back = False

    def describe(self) -> Description | None:
        """Return what AWS says of it; None where there is none."""
        with aws.explained():
            return aws.unless_missing(self._sagemaker.describe_endpoint, EndpointName=self.name)

    def _own_there(self) -> Description | None:
        """Return what AWS says of it; raises SettingsError where it is somebody else's."""
        there = self.describe()
        if there:
            remedy = "choose another --name, or tag it if it is yours"
            tagged.must_be_own(self._account, f"endpoint {self.name}", there["EndpointArn"], remedy)
        return there

    # ── made and updated ──────────────────────────────────────────────────────────────────────────────

    def deploy(self, plan: Deployment) -> Description:
        """Make the endpoint, or update the one that is there, and wait until it answers.

        Raises SettingsError while it is being changed, and WorkFailed, with its log, when the new one does
        not start or an update was rolled back.
        """
        there = self._ready(plan)
        self._prepare(plan, there)
        self._send(plan, there)
        with self._goes_on():
            found = self._wait()
        found = self._successful(found, plan)
        with self._goes_on():
            self.scale(plan.scaling)
            self._remove_earlier(self.describe())
        return found

    def _ready(self, plan: Deployment) -> Description | None:
        """Return the endpoint that is to be updated; None where one is to be made."""
        config = plan.config["EndpointConfigName"]
        if self._parts.config(config):
            raise SettingsError(f"there is a configuration {config} already: choose another --version")
        there = self._own_there()
        if there and there["EndpointStatus"] == "Deleting":
            there = self._wait()
        if there and there["EndpointStatus"] == "Failed":
            self._say(f"{self.name} has failed before: it is removed and made anew")
            self._delete_it()
            there = None
        if there is None:
            self._say(f"there is no endpoint {self.name} yet: it is made")
            return None
        if (status := there["EndpointStatus"]) in _BUSY:
            raise SettingsError(f"{self.name} is {status} already: --attach {self.name} waits for it")
        if status != "InService":
            raise SettingsError(f"{self.name} is {status}: --delete {self.name} first")
        self._say(f"{self.name} is there, with {there['EndpointConfigName']}: it is updated")
        return there

    def _prepare(self, plan: Deployment, there: Description | None) -> None:
        """Make models and configuration, which cost nothing; none of them is left when one is refused."""
        try:
            self._parts.make(plan)
            if there:
                self._release(plan, there)
        except BaseException as ending:
            self._parts.unmake(ending)
            raise

    def _send(self, plan: Deployment, there: Description | None) -> None:
        """Send the request from which on it costs; whether it has arrived is not known before its answer."""
        call = self._sagemaker.update_endpoint if there else self._sagemaker.create_endpoint
        refused = False
        try:
            with aws.explained():
                try:
                    call(**plan.update if there else plan.create)
                except ClientError:
                    refused = not self._has_begun(
                        plan
                    )  # an answer may get lost, and the request be sent again
                    if refused:
                        raise
        except (KeyboardInterrupt, SystemExit, SettingsError, WorkFailed) as ending:
            if refused:
                self._parts.unmake(ending)
            else:
                ending.add_note(
                    f"{self.name} may have been begun, and costs then: --attach {self.name} looks, "
                    f"--delete {self.name} removes it"
                )
            raise

    def _has_begun(self, plan: Deployment) -> bool:
        there = aws.unless_missing(self._sagemaker.describe_endpoint, EndpointName=self.name)
        return plan.config["EndpointConfigName"] in _configs(there)

    def configuration(self, there: Description) -> Request:
        """Return what an endpoint has; raises SettingsError where somebody has deleted it."""
        config = self._parts.config(name := there["EndpointConfigName"])
        if config is None:
            raise SettingsError(f"{self.name} has lost its configuration {name}: --delete {self.name} first")
        return config

    def _release(self, plan: Deployment, there: Description) -> None:
        """End the scaling of variants whose instances change: an update of theirs would be refused."""
        variants = self.configuration(there)["ProductionVariants"]
        types = {each["VariantName"]: each.get("InstanceType") for each in variants}
        scaled = self._scaling.variants()
        changed = {name for name in scaled if plan.scaled.get(name) != types.get(name, "")}
        if changed:
            self._scaling.end(changed)
            self._say(f"{self.name}: {', '.join(sorted(changed))} not scaled any more")

    def _successful(self, found: Description | None, plan: Deployment) -> Description:
        """Return the endpoint if it answers with the plan's configuration; else raises WorkFailed."""
        if found is None:
            failure = WorkFailed(f"{self.name} was deleted by somebody else meanwhile")
            self._parts.unmake(failure)
            raise failure
        if found["EndpointStatus"] != "InService":
            raise self._failed(
                found,
                f"{self.name} is left, {found['EndpointStatus']}, with its models and configuration: "
                f"--delete {self.name} removes them, and the next deployment makes it anew",
            )
        config = found["EndpointConfigName"]
        if config != plan.config["EndpointConfigName"]:
            is_overtaken = config == self._pending.get("EndpointConfigName")
            overtaken = f"{self.name} was updated by somebody else meanwhile, and goes on with {config}"
            failure = WorkFailed(overtaken) if is_overtaken else self._rolled_back(found)
            self._parts.unmake(failure)
            raise failure
        return found

    def _rolled_back(self, found: Description, left: str = "") -> WorkFailed:
        config = found["EndpointConfigName"]
        said = f"the update was rolled back: {self.name} goes on with {config}, and costs what it did{left}"
        return self._failed(found, said)

    def _failed(self, found: Description, left: str) -> WorkFailed:
        """Return why an endpoint has failed, the end of its log, and what is left of it."""
        reason = found.get("FailureReason", "AWS gives no reason")
        log = aws_log.last_lines(self._account, self._log_group, self._began)
        remedy = aws_errors.advice("\n".join([reason, *log]))
        return WorkFailed("\n".join([f"{self.name}: {reason}", *filter(None, [remedy]), *log, left]))

    def scale(self, operations: Operations) -> None:
        """Scale as a deployment has it; raises SettingsError where the endpoint is somebody else's."""
        if operations:
            self._own_there()
            self._scaling.set(operations)
            self._say(f"{self.name} is scaled: {', '.join(_shown(operations))}")

    # ── waited for ────────────────────────────────────────────────────────────────────────────────────

    def attach(self) -> Description:
        """Wait for an endpoint that somebody has begun; raises SettingsError where there is none.

        Raises WorkFailed when it does not start or the update was rolled back: what is left then is named.
        """
        with self._goes_on():
            found = self._wait()
        if found is None:
            raise SettingsError(f"there is no endpoint {self.name} in this account and region")
        if found["EndpointStatus"] != "InService":
            self._began = found["CreationTime"].timestamp()
            raise self._failed(
                found, f"{self.name} is left, {found['EndpointStatus']}: --delete {self.name} removes it"
            )
        wanted = self._pending.get("EndpointConfigName", found["EndpointConfigName"])
        if self._is_rolled_back or wanted != found["EndpointConfigName"]:
            if "StartTime" in self._pending:
                self._began = self._pending["StartTime"].timestamp()
            named = f" ({wanted})" if wanted != found["EndpointConfigName"] else ""
            left = (
                f"; what it was to have{named} is left, which costs nothing: the next deployment removes it"
            )
            raise self._rolled_back(found, left)
        self._say(f"{self.name} has the configuration {wanted}")
        return found

    def _wait(self) -> Description | None:
        """Wait while it is being changed, and return what became of it."""
        with waiting.Waiting(self._say) as shown:
            for _ in waiting.looks():
                found = self.describe()
                self._note(found or {})
                if found is None or found["EndpointStatus"] not in _BUSY:
                    return found
                shown.show(_progress(found))
        raise AssertionError("looks() does not end")

    def _note(self, found: Description) -> None:
        """Keep what AWS says only while it is being changed."""
        self._pending = found.get("PendingDeploymentSummary", self._pending)
        self._is_rolled_back |= found.get("EndpointStatus") == "RollingBack"

    @contextmanager
    def _goes_on(self) -> Iterator[None]:
        """Say what goes on at AWS where the wait for it ends early."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit, SettingsError, WorkFailed) as ending:
            ending.add_note(
                f"{self.name} goes on at AWS and costs until it is removed: --attach {self.name} waits for "
                f"it (with the --scale-… options again, not set yet), --delete {self.name} removes it"
            )
            raise

    # ── removed ───────────────────────────────────────────────────────────────────────────────────────

    def delete(self) -> None:
        """Remove the endpoint, its scaling, and the models and configurations that were made for it.

        Raises SettingsError where there is nothing of it.
        """
        there = self._own_there()
        try:
            scaled = self._scaling.variants()
            self._scaling.end(scaled)
            if there:
                self._claim_log()
                self._delete_it()
            self._parts.give_up()
            removed = self._remove_earlier(None)
        except (KeyboardInterrupt, SystemExit, SettingsError, WorkFailed) as ending:
            ending.add_note(f"what is left of {self.name} may cost: --delete {self.name} goes on")
            raise
        if not (there or scaled or removed):
            raise SettingsError(f"there is nothing of an endpoint {self.name} in this account and region")
        self._say(
            f"{self.name} is gone; what it has logged ({self._log_group}) "
            f"and left in s3://{self._account.bucket} stays, and so does what monitor.py may have made: "
            "a dashboard, alarms and a topic, which teardown.py takes away"
        )

    def _claim_log(self) -> None:
        """Tag its log, by which teardown.py finds it; that it cannot be is no reason to keep what costs."""
        try:
            log_things.claim(self._account, self.name).ask(self._account, log_things.ABSENT)
        except (SettingsError, WorkFailed) as error:
            self._say(f"{self._log_group} has no tag, and teardown.py may not find it: {error}")

    def _delete_it(self) -> None:
        with aws.explained():
            aws.unless_missing(self._sagemaker.delete_endpoint, EndpointName=self.name)
        self._wait()

    def _remove_earlier(self, there: Description | None) -> list[str]:
        """Remove what earlier deployments have made and the endpoint, as it is now, does not need."""
        removed = self._parts.remove_earlier(_configs(there))
        if removed:
            self._say(f"removed: {', '.join(removed)}")
        return removed


def _configs(there: Description | None) -> set[str]:
    """Return the configurations that an endpoint has, and is being given."""
    found = there or {}
    both = (found, found.get("PendingDeploymentSummary", {}))
    return {each["EndpointConfigName"] for each in both if "EndpointConfigName" in each}


def _progress(found: Description) -> str:
    """Say how an endpoint stands, in one line."""
    pending = found.get("PendingDeploymentSummary", found).get("ProductionVariants", [])
    return "; ".join([f"{found['EndpointName']} is {found['EndpointStatus']}", *map(_variant, pending)])


def _variant(found: Description) -> str:
    states = ", ".join(each["Status"] for each in found.get("VariantStatus", []))
    count = found.get("CurrentInstanceCount")
    wanted = found.get("DesiredInstanceCount")
    parts = [states, f"{count} of {wanted} instances" if None not in (count, wanted) else ""]
    return f"{found['VariantName']}: {', '.join(part for part in parts if part) or 'waiting'}"


def _shown(operations: Operations) -> Iterator[str]:
    """Say what scaling requests do, in a few words each."""
    for operation, request in operations:
        if operation == "RegisterScalableTarget":
            variant = request["ResourceId"].rpartition("/")[2]
            yield f"{variant} from {request['MinCapacity']} to {request['MaxCapacity']} instances"
        elif operation == "PutScheduledAction":
            yield f"{request['ScheduledActionName']} at {request['Schedule']}"


def summary(found: Description) -> Iterator[str]:
    """Say what an endpoint that answers has, a line for each variant."""
    for each in found.get("ProductionVariants", []):
        where = (
            "serverless"
            if each.get("CurrentServerlessConfig")
            else f"{each.get('CurrentInstanceCount')} instances"
        )
        yield f"  {each['VariantName']}: weight {each.get('CurrentWeight', 1):g}, {where}"

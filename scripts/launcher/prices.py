"""What SageMaker charges: config/prices.toml, and AWS's own price list, from which it is refreshed.

Called by `costs`, by `scripts/costs.py`, and by a search on AWS, which shows what its trials have cost.
"""

import datetime
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from rich.table import Table

from launcher import aws, configuration
from launcher.configuration import Section
from launcher.errors import SettingsError, WorkFailed
from launcher.requests import Request

DEFAULT_FILE = Path(__file__).resolve().parents[2] / "config/prices.toml"
_LIST_REGION = "us-east-1"  # where the price list is answered, for all regions
_COMPONENTS = {"Training", "Hosting", "Processing", "BatchTransform"}  # what the project uses, less spaces
MONTH_HOURS = 730
Dollars = Annotated[float, Field(gt=0)]


class Prices(Section):
    """The whole file: dollars, in one region, as of one day."""

    region: str
    date: datetime.date
    source: str
    volume_gb_month: Dollars
    serverless_gb_second: Dollars
    hosted_gb: Dollars
    storage_gb_month: Dollars
    spot_share: Annotated[float, Field(gt=0, le=1)]
    instance_hours: dict[str, Dollars]

    @property
    def origin(self) -> str:
        """Say where and when the instances' prices hold."""
        return f"instances in {self.region}, on demand, {self.date} ({self.source})"


def table(prices: Prices) -> Table:
    """Lay the instances' prices out, an hour and a month of each, with their origin below."""
    grid = Table(
        title="dollars on demand", title_justify="left", caption=prices.origin, caption_justify="left"
    )
    for name in ("instance", "an hour", "a month"):
        grid.add_column(name, justify="left" if name == "instance" else "right")
    for name, price in prices.instance_hours.items():
        grid.add_row(name, f"{price:.4f}", f"{price * MONTH_HOURS:,.2f}")
    return grid


def read(file: Path = DEFAULT_FILE) -> Prices:
    """Read the table; raises SettingsError naming each wrong key."""
    return configuration.read(Prices, file, what="SageMaker's prices")


def known(instance_type: str, region: str) -> tuple[float | None, str]:
    """Return an instance's price an hour, or None and why it is not known: a search goes on without it.

    It is the table's if that is of this region, else AWS's list is asked.
    """
    try:
        table = read()
        if table.region == region and instance_type in table.instance_hours:
            return table.instance_hours[instance_type], ""
        price = listed(instance_type, region)
    except (SettingsError, WorkFailed) as error:
        return None, str(error)
    return price, "" if price else f"AWS's price list has no {instance_type} in {region}"


def listed(instance_type: str, region: str) -> float | None:
    """Ask AWS's list for an instance's price an hour, on demand: the dearest of what the project uses it for.

    None where it has none; raises SettingsError or WorkFailed when it cannot be asked.
    """
    pages = aws.client("pricing", region=_LIST_REGION, in_a_hurry=True).get_paginator("get_products")
    with aws.explained():
        products = [
            json.loads(product)
            for page in pages.paginate(**_request(instance_type, region))
            for product in page["PriceList"]
        ]
    return max((price for product in products for price in _hourly(product)), default=None)


def requests(file: Path, region: str, more: Collection[str] = ()) -> list[Request]:
    """Return the GetProducts requests of `refresh`."""
    return [_request(name, region) for name in _asked(file, more)]


def _request(instance_type: str, region: str) -> Request:
    wanted = {"instanceName": instance_type, "regionCode": region}
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    return {"ServiceCode": "AmazonSageMaker", "Filters": filters}


def _asked(file: Path, more: Collection[str]) -> list[str]:
    """Return the file's instances and `more`, each once."""
    return list(dict.fromkeys([*read(file).instance_hours, *more]))


def _hourly(product: dict[str, Any]) -> list[float]:
    if product["product"]["attributes"].get("component", "").replace(" ", "") not in _COMPONENTS:
        return []
    return [
        float(dimension["pricePerUnit"]["USD"])
        for term in product["terms"].get("OnDemand", {}).values()
        for dimension in term["priceDimensions"].values()
        if dimension["unit"] in {"Hrs", "Hour", "Hours"}
    ]


def refresh(file: Path, region: str, more: Collection[str] = ()) -> list[str]:
    """Write the file's instances and `more` as AWS's list has them; returns those that it has not.

    Raises SettingsError or WorkFailed, and leaves the file as it was, when the list cannot be asked.
    """
    asked = {name: listed(name, region) for name in _asked(file, more)}
    found = {name: price for name, price in asked.items() if price}
    if not found:
        raise WorkFailed(f"AWS's price list has none of these in {region}: {', '.join(asked)}")
    file.write_text(_rewritten(file.read_text(encoding="utf-8"), region, found), encoding="utf-8")
    return sorted(asked.keys() - found.keys())


def _rewritten(text: str, region: str, hours: dict[str, float]) -> str:
    """Replace what AWS's list knows, and keep everything else, comments included."""
    head = re.match(r".*?^\[instance-hours\][^\n]*\n", text, re.DOTALL | re.MULTILINE)
    assert head, "`read` has seen the table"  # noqa: S101
    new = {"region": f'"{region}"', "date": f"{datetime.date.today()}", "source": '"AWS\'s price list"'}
    kept = head[0]
    for key, value in new.items():
        kept = re.sub(rf"^{key} = .*$", f"{key} = {value}", kept, flags=re.MULTILINE)
    return kept + "".join(f'"{name}" = {price!r}\n' for name, price in hours.items())

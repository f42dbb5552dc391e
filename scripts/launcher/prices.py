"""What an hour of an instance costs, asked of AWS's price list: no table that grows old."""

import json
from typing import Any

from launcher import aws
from launcher.errors import SettingsError, WorkFailed

_LIST_REGION = "us-east-1"  # where the price list is answered, for all regions


def dollars_per_hour(instance_type: str, region: str) -> float:
    """Return the price of an instance for training, on demand.

    Raises SettingsError or WorkFailed when the list cannot be asked or has no such instance.
    """
    wanted = {"instanceName": instance_type, "regionCode": region, "component": "Training"}
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    with aws.explained():
        answer = aws.client("pricing", region=_LIST_REGION).get_products(
            ServiceCode="AmazonSageMaker", Filters=filters
        )
    prices = {price for product in answer["PriceList"] for price in _hourly(json.loads(product))}
    if len(prices) != 1:
        raise WorkFailed(f"AWS's price list has {len(prices)} prices for {instance_type} in {region}")
    return prices.pop()


def _hourly(product: dict[str, Any]) -> list[float]:
    return [
        float(dimension["pricePerUnit"]["USD"])
        for term in product["terms"]["OnDemand"].values()
        for dimension in term["priceDimensions"].values()
        if dimension["unit"] in {"Hrs", "Hour", "Hours"}
    ]


def known(instance_type: str, region: str) -> tuple[float | None, str]:
    """Return the price, or None and the reason why it is not known: a search goes on without it."""
    try:
        return dollars_per_hour(instance_type, region), ""
    except (SettingsError, WorkFailed) as error:
        return None, str(error)

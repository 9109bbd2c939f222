"""The pair in Prometheus' words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from prometheus_client.core import Metric

from boosters.pair import pair_standing
from fleet.metrics import gauge


def collect(moment: datetime) -> Iterator[Metric]:
    """Yield which node acts, how long each was not seen, and the term; ages by the database's clock."""
    standing = pair_standing()
    yield gauge(
        "booster_node_acting",
        "Whether the node acts: 1 of exactly one while all is well.",
        ["role"],
        [([node.role.value], int(node.is_acting)) for node in standing.nodes],
    )
    yield gauge(
        "booster_node_age_seconds",
        "For how long the node was not seen; none for one never seen.",
        ["role"],
        [([node.role.value], node.age.total_seconds()) for node in standing.nodes if node.age is not None],
    )
    yield gauge("booster_lease_term", "How often the right to act was claimed.", [], [([], standing.lease.term)])

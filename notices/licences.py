"""The end of the licence or the trial as a notice; licensing lies below and knows only the event log."""

from __future__ import annotations

from events.models import Event
from licensing.installation import NOTICE
from licensing.rules import State
from notices.kinds import LICENSE_ENDS
from notices.outbox import tell

WHAT_ENDS = {State.TRIAL: "The trial", State.GRACE: "The licence's grace period"}


def tell_of_the_end(event: Event) -> None:
    """Tell what the event says, in its transaction; connected to the event log."""
    if event.kind != NOTICE:
        return
    left, state = event.data["days_left"], State(event.data["state"])
    tell(
        LICENSE_ENDS,
        key=f"{NOTICE}:{event.object_key or 'trial'}:{state}:{event.data['days']}",
        subject=f"{WHAT_ENDS.get(state, 'The licence')} ends in {left} day{'' if left == 1 else 's'}",
        text=f"{event.cause}. Terminals go on as before; what the licence allows beyond that ends.",
        moment=event.at,
        data=event.data,
    )

"""What time it is for the API server, whose creationTimestamps every deadline counts from.

Read from the Date header of its answers. A process whose own clock is minutes off would end young
sessions at once, and sign tokens that no runtime takes, which has the node's time.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

NOTICED = timedelta(seconds=2)
"""A difference below is the header's whole seconds and the way of the answer."""
TOLD = timedelta(seconds=20)

log = logging.getLogger(__name__)


class ServerClock:
    """Our clock, corrected by how far it is from the API server's."""

    def __init__(self, own: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._own = own
        self._offset = timedelta()

    def now(self) -> datetime:
        """In UTC."""
        return self._own() + self._offset

    def heard(self, date: str | None) -> None:
        """The Date header of an answer that has just arrived (RFC 9110, whole seconds)."""
        try:
            told = parsedate_to_datetime(date or "")
        except ValueError:
            return
        if told.tzinfo is None:
            return
        offset = told - self._own()
        if abs(offset - self._offset) <= NOTICED:
            return
        self._offset = offset if abs(offset) > NOTICED else timedelta()
        if abs(self._offset) > TOLD:
            log.warning(
                "this clock is off: going by the API server's",
                extra={"offset_s": round(self._offset.total_seconds(), 1)},
            )

"""What time it is for the API server, whose creationTimestamps every deadline counts from.

Read from the Date header of its answers. A process whose own clock is minutes off would end young
sessions at once, and sign tokens that no runtime takes, which has the node's time.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

NOTICED = timedelta(seconds=2)
"""A difference below is the header's whole seconds and the way of the answer."""
TOLD = timedelta(seconds=20)

log = logging.getLogger(__name__)


def boot_time() -> float:
    """Seconds since boot. Unlike time.monotonic it also runs while the machine is suspended,
    when the other replica takes over."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


_STARTED = datetime.now(UTC), boot_time()


def steady() -> datetime:
    """The wall clock of when the process started, and what has passed since: nobody sets it."""
    wall, at = _STARTED
    return wall + timedelta(seconds=boot_time() - at)


class ServerClock:
    """Our clock, corrected by how far it is from the API server's."""

    def __init__(self, own: Callable[[], datetime] = steady) -> None:
        self._own = own
        self._offset = timedelta()
        self._doubt: timedelta | None = None
        """What the last answer said, if it was something else."""

    def now(self) -> datetime:
        """In UTC."""
        return self._own() + self._offset

    def heard(self, date: str | None) -> None:
        """The Date header of a good answer that has just arrived (RFC 9110, whole seconds).

        A jump is taken when two answers in a row agree on it.
        """
        try:
            told = parsedate_to_datetime(date or "")
        except ValueError:
            return
        if told.tzinfo is None:
            return
        offset = told - self._own()
        if abs(offset - self._offset) <= NOTICED:
            self._doubt = None
            return
        if self._doubt is None or abs(offset - self._doubt) > NOTICED:
            self._doubt = offset
            return
        self._doubt = None
        self._offset = offset if abs(offset) > NOTICED else timedelta()
        if abs(self._offset) > TOLD:
            log.warning(
                "this clock is off: going by the API server's",
                extra={"offset_s": round(self._offset.total_seconds(), 1)},
            )

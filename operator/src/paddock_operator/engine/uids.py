"""The workspace's user id: the lowest number that no live sandbox has.

RLIMIT_NPROC counts a user over the whole node, so two sandboxes must never share one. Taken
are the uids in the specs of all live pods, and those given out whose pod is still on its way
to the store.
"""

from collections.abc import Iterable


def lowest_free(base: int, taken: Iterable[int]) -> int:
    """The lowest number from `base` up that is not taken."""
    used = set(taken)
    uid = base
    while uid in used:
        uid += 1
    return uid


class UidReservations:
    """Uids given out to sandboxes whose pod is not in the store yet."""

    def __init__(self, base: int) -> None:
        self._base = base
        self._reserved: dict[str, int] = {}

    def reserve(self, sandbox_uid: str, live: Iterable[int]) -> int:
        """The same sandbox is given the same uid until it is released."""
        if sandbox_uid not in self._reserved:
            taken = (*live, *self._reserved.values())
            self._reserved[sandbox_uid] = lowest_free(self._base, taken)
        return self._reserved[sandbox_uid]

    def release(self, sandbox_uid: str) -> None:
        """The pod is in the store, or will not be made."""
        self._reserved.pop(sandbox_uid, None)

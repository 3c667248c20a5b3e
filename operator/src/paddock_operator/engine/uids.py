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
        self._sent: set[str] = set()

    def reserve(self, sandbox_uid: str, live: Iterable[int]) -> int:
        """The same sandbox is given the same uid until it is released."""
        if sandbox_uid not in self._reserved:
            taken = (*live, *self._reserved.values())
            self._reserved[sandbox_uid] = lowest_free(self._base, taken)
        return self._reserved[sandbox_uid]

    def sent(self, sandbox_uid: str) -> None:
        """A pod with this uid was asked for. Until there is a plain answer it may exist, even
        if its sandbox is gone: after a timeout, only its own end frees the number."""
        self._sent.add(sandbox_uid)

    def refused(self, sandbox_uid: str) -> None:
        """The pod was not made; the next attempt will have the same uid."""
        self._sent.discard(sandbox_uid)

    def abandon(self, sandbox_uid: str) -> None:
        """The sandbox is gone: nobody will ask for its pod any more."""
        if sandbox_uid not in self._sent:
            self.release(sandbox_uid)

    def release(self, sandbox_uid: str) -> None:
        """The pod is in the store, or it is gone."""
        self._reserved.pop(sandbox_uid, None)
        self._sent.discard(sandbox_uid)

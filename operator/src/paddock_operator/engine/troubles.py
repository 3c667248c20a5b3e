"""What creates were last refused with, by the key of the object that wanted the child."""

from paddock_operator.plan.actions import Key
from paddock_operator.plan.evidence import Trouble


class Troubles:
    """In memory only: after a restart the next try is refused again."""

    def __init__(self) -> None:
        self._troubles: dict[Key, Trouble] = {}

    def get(self, key: Key) -> Trouble | None:
        """The last refusal, if the child has not been made since."""
        return self._troubles.get(key)

    def set(self, key: Key, trouble: Trouble) -> None:
        """Remember a refusal."""
        self._troubles[key] = trouble

    def clear(self, key: Key) -> None:
        """The child was made, or nobody wants it any more."""
        self._troubles.pop(key, None)

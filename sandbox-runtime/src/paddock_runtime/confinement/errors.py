"""The one error of this package."""


class ConfinementError(RuntimeError):
    """A layer that the node promised could not be put on; user code must not be started.

    `layer` is a stable word for metrics and messages: signals, rlimits, noNewPrivs, seccomp,
    oomScoreAdj, dumpable, landlock or policy.
    """

    def __init__(self, layer: str, detail: str) -> None:
        super().__init__(f"{layer}: {detail}")
        self.layer = layer
        self.detail = detail

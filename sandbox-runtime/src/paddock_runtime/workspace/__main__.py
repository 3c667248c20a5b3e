"""`python3 -I -m paddock_runtime.workspace`: PID 1 of the untrusted container."""

import os
import sys

from paddock_runtime.workspace.supervisor import supervise


def main(library: str | None = None) -> int:
    """Supervise until told to stop. `library` leaves sys.path once we have what we need."""

    def serve() -> int:
        from paddock_runtime.workspace.serving import serve as serve_runtime

        if library in sys.path:
            sys.path.remove(library)
        return serve_runtime()

    return supervise(serve)


if __name__ == "__main__":
    os._exit(main())

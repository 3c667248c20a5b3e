"""`python3 -I -m paddock_runtime.workspace`: PID 1 of the untrusted container."""

import os

from paddock_runtime.workspace.supervisor import supervise


def _serve() -> int:
    from paddock_runtime.workspace.forkserver import serve

    return serve()


def main() -> int:
    return supervise(_serve)


if __name__ == "__main__":
    os._exit(main())

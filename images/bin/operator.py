"""The operator image's entry point: our packages and the pinned wheels live beside this file."""

import sys

sys.path.append("/opt/paddock/lib")

from paddock_operator.__main__ import main

if __name__ == "__main__":
    sys.exit(main())

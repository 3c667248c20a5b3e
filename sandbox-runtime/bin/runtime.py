"""Entry point of the trusted container: `python3 -I /opt/paddock/bin/runtime.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

from paddock_runtime.server.__main__ import main

sys.exit(main())

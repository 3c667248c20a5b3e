"""Entry point of the untrusted container: `python3 -I /opt/paddock/bin/workspace.py`.

Paddock's library folder is on the path only while Paddock imports its own modules: user code
must not find them, nor what they depend on, among its own.
"""

import os
import sys

LIBRARY = f"{os.path.realpath(__file__).rsplit('/', 2)[0]}/lib"
sys.path.insert(0, LIBRARY)

from paddock_runtime.workspace.__main__ import main  # noqa: E402

os._exit(main(LIBRARY))

"""Entry point of `python3 images …`."""

import sys

from imagetool.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""matplotlib and pandas, pinned by requirements/data.txt, in a folder for PYTHONPATH.

They are large and few tests want them: installed once per pin, when a test asks. Their wheels
fit any CPython 3.11 of this machine.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REQUIREMENTS = Path(__file__).parents[3] / "requirements" / "data.txt"


def data_packages() -> Path:
    """The folder. Raises CalledProcessError where the package index cannot be reached."""
    pin = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]
    folder = Path.home() / ".cache" / "paddock" / f"data-{pin}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".data-"))
        command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--require-hashes"]
        command += ["--python", sys.executable, "--target", str(made), "-r", str(REQUIREMENTS)]
        subprocess.run(command, check=True)
        made.chmod(0o755)
        try:
            made.rename(folder)
        except OSError:  # another session was faster
            shutil.rmtree(made)
            assert os.access(folder, os.R_OK)
    return folder

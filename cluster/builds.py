"""Builds every component from its Go module, once per version, into the user's cache.

A build's folder is named by a hash of everything that decides what is in it, so a changed version
rebuilds that component alone, and it gets its name only when it is complete.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from cluster import packages
from cluster.report import ComponentError, duration, step
from cluster.settings import Settings

#: Raise it when the way of building changes in a manner that the recipe itself does not show.
FORMAT = 1


@dataclass(frozen=True)
class Recipe:
    """How one Go module becomes binaries."""

    name: str
    module: str
    version: str
    binaries: tuple[tuple[str, str], ...]
    ldflags: str = ""
    #: k8s.io/kubernetes replaces its staging modules by paths, which only its own tree has.
    staging: str = ""

    @property
    def key(self) -> str:
        """Names the build: readable, and different whenever the recipe is."""
        text = json.dumps([FORMAT, asdict(self)], sort_keys=True)
        return f"{self.name}-{self.version}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


#: Seconds a binary takes with an empty Go cache on 2 cores, to tell people what to expect. Most of
#: Kubernetes is compiled for the first of its binaries.
FIRST_TIME = {
    "kube-apiserver": 150,
    "kube-controller-manager": 45,
    "kubelet": 15,
    "etcd": 30,
    "containerd": 50,
    "helm": 65,
    "kubectl": 15,
}


def recipes(settings: Settings) -> dict[str, Recipe]:
    """Return every recipe by component, in the order of building."""
    kube, etcd = settings.version("kubernetes"), settings.version("etcd")
    containerd, cni = settings.version("containerd"), settings.version("cni")
    helm, kind = settings.version("helm"), settings.version("kind")
    major, minor, _ = kube.split(".")
    stamp = " ".join(
        f"-X {package}.{key}={value}"
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        for key, value in (
            ("gitVersion", f"v{kube}"),
            ("gitMajor", major),
            ("gitMinor", minor),
        )
    )
    kube_binaries = (
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
    )
    kubernetes = {
        "module": "k8s.io/kubernetes",
        "version": f"v{kube}",
        "ldflags": f"-s -w {stamp}",
        "staging": f"v0.{minor}.{kube.split('.')[2]}",
    }
    cd = "github.com/containerd/containerd/v2"
    plugins = "github.com/containernetworking/plugins"
    made = (
        Recipe(
            name="kubernetes",
            binaries=tuple((name, f"k8s.io/kubernetes/cmd/{name}") for name in kube_binaries),
            **kubernetes,
        ),
        # Apart from the control plane, though of the same module: kind needs nothing but this.
        Recipe(
            name="kubectl", binaries=(("kubectl", "k8s.io/kubernetes/cmd/kubectl"),), **kubernetes
        ),
        Recipe(
            name="etcd",
            module="go.etcd.io/etcd/server/v3",
            version=f"v{etcd}",
            binaries=(("etcd", "go.etcd.io/etcd/server/v3"),),
            ldflags="-s -w",
        ),
        Recipe(
            name="containerd",
            module=cd,
            version=f"v{containerd}",
            binaries=tuple(
                (name, f"{cd}/cmd/{name}")
                for name in ("containerd", "containerd-shim-runc-v2", "ctr")
            ),
            ldflags=f"-s -w -X {cd}/version.Version=v{containerd}",
        ),
        # No portmap: Paddock's pods have no host ports, and every pod's start would pay for it.
        Recipe(
            name="cni",
            module=plugins,
            version=f"v{cni}",
            binaries=tuple(
                (path.split("/")[1], f"{plugins}/plugins/{path}")
                for path in ("main/ptp", "ipam/host-local")
            ),
            ldflags="-s -w",
        ),
        Recipe(
            name="helm",
            module="helm.sh/helm/v3",
            version=f"v{helm}",
            binaries=(("helm", "helm.sh/helm/v3/cmd/helm"),),
            # Without the last two `helm template` takes the cluster for Kubernetes 1.20.
            ldflags=f"-s -w -X helm.sh/helm/v3/internal/version.version=v{helm}"
            " -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1"
            f" -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor={minor}",
        ),
        Recipe(
            name="kind",
            module="sigs.k8s.io/kind",
            version=f"v{kind}",
            binaries=(("kind", "sigs.k8s.io/kind"),),
            ldflags="-s -w",
        ),
    )
    return {recipe.name: recipe for recipe in made}


LOCAL = ("kubernetes", "kubectl", "etcd", "containerd", "cni", "helm")
KIND = ("kubectl", "helm", "kind")


def go_mod(recipe: Recipe, minimum: str, upstream: str = "") -> str:
    """Render the go.mod of a throw-away module that depends on the recipe's.

    `upstream` is the dependency's own go.mod, from which the staging replaces are restated.
    """
    lines = ["module paddock.local/build", "", f"go {minimum}.0", ""]
    lines += [f"require {recipe.module} {recipe.version}", ""]
    if recipe.staging:
        for line in upstream.splitlines():
            path, arrow, target = line.strip().partition(" => ")
            if arrow and target.startswith("./staging/"):
                lines.append(f"replace {path} => {path} {recipe.staging}")
    return "\n".join(lines) + "\n"


def build_folder(settings: Settings, recipe: Recipe) -> Path:
    return settings.builds / recipe.key


def bin_folder(settings: Settings, names: tuple[str, ...] = LOCAL) -> Path:
    """Return the folder of links to all binaries of the present versions."""
    keys = [recipe.key for name, recipe in recipes(settings).items() if name in names]
    digest = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:10]
    return settings.cache / "bin" / digest


@contextmanager
def locked(path: Path, announce: str) -> Iterator[None]:
    """Hold an exclusive lock; two commands at once wait for each other instead of colliding."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with step(f"waiting for another command that is {announce}"):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def ensure_built(settings: Settings, names: tuple[str, ...] = LOCAL) -> Path:
    """Build what is not there yet; return the folder with the binaries."""
    wanted = [recipe for name, recipe in recipes(settings).items() if name in names]
    folder = bin_folder(settings, names)
    if folder.is_dir() and all(build_folder(settings, recipe).is_dir() for recipe in wanted):
        return folder
    with locked(settings.cache / "locks" / "build.lock", "building"):
        todo = [recipe for recipe in wanted if not build_folder(settings, recipe).is_dir()]
        if todo:
            go = packages.ensure_go(settings)
            for recipe in todo:
                _build(settings, recipe, go)
        _link(settings, wanted, folder)
    return folder


def _link(settings: Settings, wanted: list[Recipe], folder: Path) -> None:
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for recipe in wanted:
        for name, _ in recipe.binaries:
            (temporary / name).symlink_to(build_folder(settings, recipe) / name)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def _build(settings: Settings, recipe: Recipe, go: Path) -> None:
    settings.builds.mkdir(parents=True, exist_ok=True)
    work = settings.builds / f".{recipe.name}.work"  # one at a time: the caller holds the lock
    shutil.rmtree(work, ignore_errors=True)
    log = settings.cache / "log" / f"build-{recipe.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    output = work / "out"
    output.mkdir(parents=True)
    minimum = settings.versions["go"]["minimum"]
    try:
        upstream = _upstream_go_mod(recipe, go, work, log) if recipe.staging else ""
        (work / "go.mod").write_text(go_mod(recipe, minimum, upstream))
        for name, package in recipe.binaries:
            seconds = FIRST_TIME.get(name)
            note = f"about {duration(seconds)} the first time on 2 cores" if seconds else ""
            with step(f"building {name} {recipe.version}", note):
                # -mod=mod: the module is thrown away, so Go may complete it without a `tidy`,
                # which would fetch what only the tests of the dependencies need.
                flags = ["-mod=mod", "-trimpath", "-ldflags", recipe.ldflags]
                _go(recipe, go, work, log, "build", *flags, "-o", str(output / name), package)
        output.rename(build_folder(settings, recipe))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _upstream_go_mod(recipe: Recipe, go: Path, work: Path, log: Path) -> str:
    # Outside of any module, since ours is not written yet.
    target = f"{recipe.module}@{recipe.version}"
    with step(f"fetching {target}"):
        answer = json.loads(_go(recipe, go, work, log, "mod", "download", "-json", target))
    return Path(answer["GoMod"]).read_text()


def _go(recipe: Recipe, go: Path, work: Path, log: Path, *arguments: str) -> str:
    environ = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOWORK": "off",
        "GO111MODULE": "on",
        "GOTOOLCHAIN": "local",
        "PATH": f"{go.parent}:{packages.search_path()}",
    }
    # The toolchain knows its own root; a variable left from another one would mislead it.
    environ.pop("GOROOT", None)
    with log.open("ab") as file:
        done = subprocess.run(
            [go, *arguments],
            cwd=work,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            check=False,
        )
    if done.returncode != 0:
        command = " ".join(arguments[:2])
        way_out = "run the same command again; what was compiled is kept in Go's own cache"
        raise ComponentError(recipe.name, f"`go {command}` failed", log, way_out)
    return done.stdout.decode()

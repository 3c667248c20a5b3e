"""The command line. Answers go to stdout, everything else to stderr."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from cluster import builds, images, kind, local, settings
from cluster.report import ClusterError, say

VERBS = {
    "up": "build what is missing and bring the cluster up, or repair it",
    "down": "take the cluster down, with everything it left on the machine but the builds",
    "status": "one line for each component; exit status 0 when all are well",
    "kubeconfig": "print the path of the administrator's kubeconfig",
    "load": "load images from docker or OCI archives",
    "bin": "print the folder with kubectl, helm, etcd, kube-apiserver, ctr and the others",
    "build": "build only",
    "audit-log": "print the path of the API server's audit log (writes only)",
}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python3 cluster",
        description="A real single-node Kubernetes for Paddock's development and tests.",
        epilog="PADDOCK_CLUSTER=local|kind forces the kind of cluster (default: kind where Docker "
        "answers); PADDOCK_CLUSTER_NAME names another instance.",
    )
    verbs = made.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, text in VERBS.items():
        sub = verbs.add_parser(verb, help=text, description=text)
        if verb == "load":
            sub.add_argument("archives", nargs="+", type=Path, metavar="IMAGE.tar")
    return made


def choose(environ: dict[str, str]) -> str:
    """Return `kind` where Docker answers, else `local`, unless the environment says which."""
    forced = environ.get("PADDOCK_CLUSTER", "")
    if forced not in ("", "local", "kind"):
        raise ClusterError(f"PADDOCK_CLUSTER={forced!r}: neither local nor kind")
    return forced or ("kind" if kind.available() else "local")


def main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    try:
        return _run(options)
    except ClusterError as error:
        say(f"error: {error}")
        return 1
    except BrokenPipeError:  # `status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from here")
        return 130


def _run(options: argparse.Namespace) -> int:
    here = settings.from_environment()
    verb = options.verb
    if verb in ("bin", "build"):
        folder = builds.ensure_built(here)
        if verb == "bin":
            print(folder)
        return 0
    if choose(dict(os.environ)) == "kind":
        return _run_kind(here, options)
    if verb == "up":
        local.up(here)
    elif verb == "down":
        local.down(here)
    elif verb == "status":
        return 0 if local.status(here) else 1
    else:
        local.require_up(here)
        if verb == "kubeconfig":
            print(here.kubeconfig)
        elif verb == "audit-log":
            print(here.audit_log)
        elif verb == "load":
            images.load(here, options.archives)
    return 0


def _run_kind(here: settings.Settings, options: argparse.Namespace) -> int:
    verb = options.verb
    if verb == "up":
        kind.up(here)
    elif verb == "down":
        kind.down(here)
    elif verb == "status":
        return 0 if kind.status(here) else 1
    elif verb == "kubeconfig":
        if not kind.kubeconfig(here).is_file():
            raise ClusterError("the kind cluster is not up: run `python3 cluster up`")
        print(kind.kubeconfig(here))
    elif verb == "load":
        kind.load(here, options.archives)
    else:
        raise ClusterError(f"{verb}: not on kind")
    return 0

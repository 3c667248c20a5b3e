"""Bad manifests: each is refused by the API server, and the message names the field."""

from copy import deepcopy
from typing import Any

import pytest
from tests.integration.conftest import Kubectl
from tests.integration.manifests import Manifest, sandbox, session, steps, template

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("crds")]

NO_CODE = {"language": ..., "code": ...}
MAX = "spec.lifetime.maxDuration"
IDLE = "spec.lifetime.idleTimeout"
TTL = "spec.lifetime.ttlAfterFinished"
SIZE = "spec.workspace.volume.size"
FILE = "spec.files[0].path"
OUTPUT = "spec.limits.outputBytes"


def files(*paths: str) -> Manifest:
    return session(files=[{"path": path} for path in paths])


def lifetime(text: Any) -> Manifest:
    return session(lifetime={"maxDuration": text})


def volume(**values: Any) -> Manifest:
    return template(workspace={"volume": values})


def limits(**values: Any) -> Manifest:
    return template(limits=values)


def resources(**values: Any) -> Manifest:
    return template(resources=values)


BAD: dict[str, tuple[Manifest, str, str]] = {
    # name: (manifest, path of the field as the message must name it, words that help)
    "misspelt field": (session(usr="alice"), "spec.usr", "unknown field"),
    "misspelt step field": (steps({"timeOut": "3s"}), "spec.steps[0].timeOut", "unknown field"),
    "field of a later issue": (session(poolRef={"name": "x"}), "spec.poolRef", "unknown field"),
    "missing user": (session(user=...), "spec.user", "Required value"),
    "null user": (session(user=None), "spec.user", "Required value"),
    "empty user": (session(user=""), "spec.user", "at least 1 chars long"),
    "user with a space": (session(user="al ice"), "spec.user", "such as alice@example.com"),
    "user with a newline": (session(user="alice\n"), "spec.user", "must be letters, digits and"),
    "user of 254": (session(user="a" * 254), "spec.user", "Too long"),
    "user is a number": (session(user=7), "spec.user", "must be of type string"),
    "missing template": (session(templateRef=...), "spec.templateRef", "Required value"),
    "template without name": (
        session(templateRef={"kind": "SandboxTemplate"}),
        "spec.templateRef.name",
        "Required value",
    ),
    "unknown template kind": (
        session(templateRef={"kind": "Template", "name": "python"}),
        "spec.templateRef.kind",
        'supported values: "SandboxTemplate", "ClusterSandboxTemplate"',
    ),
    "template name in upper case": (
        session(templateRef={"name": "Python"}),
        "spec.templateRef.name",
        "must be the name of a template: lower case letters",
    ),
    "duration of zero": (lifetime("0s"), MAX, "must be a duration above 0"),
    "duration of zeros": (lifetime("0h0m"), MAX, "must be a duration above 0"),
    "duration of a year": (lifetime("9999h"), MAX, "of at most 168h"),
    "duration just too long": (lifetime("168h1ms"), MAX, "of at most 168h"),
    "duration beyond int64": (lifetime("99999999999999h"), MAX, "of at most 168h"),
    "duration without unit": (lifetime("5"), MAX, "such as 90s or 1h30m"),
    "duration in days": (lifetime("1d"), MAX, "write 24h for a day"),
    "negative duration": (lifetime("-5s"), MAX, "must be a duration above 0"),
    "duration with a fraction": (lifetime("1.5h"), MAX, "such as 90s or 1h30m"),
    "duration as a number": (lifetime(30), MAX, "must be of type string"),
    "duration of a thousand parts": (lifetime("1s" * 17), MAX, "Too long"),
    "idle timeout of zero": (
        session(lifetime={"idleTimeout": "0s"}),
        IDLE,
        "must be a duration above",
    ),
    "idle for longer than it may live": (
        session(lifetime={"maxDuration": "10m", "idleTimeout": "11m"}),
        IDLE,
        "11m is longer than maxDuration (10m); lower it or raise maxDuration",
    ),
    "idle timeout in days": (session(lifetime={"idleTimeout": "1d"}), IDLE, "write 24h for a day"),
    "idle timeout of two weeks": (session(lifetime={"idleTimeout": "336h"}), IDLE, "most 168h"),
    "idle timeout of a sandbox": (sandbox(lifetime={"idleTimeout": "-1s"}), IDLE, "above 0"),
    "idle timeout of a template": (template(lifetime={"idleTimeout": "0s"}), IDLE, "above 0"),
    "ttl of zero": (
        session(lifetime={"ttlAfterFinished": "0s"}),
        TTL,
        "must be a duration above 0",
    ),
    "ttl as a number": (session(lifetime={"ttlAfterFinished": 60}), TTL, "must be of type string"),
    "ttl of a year": (sandbox(lifetime={"ttlAfterFinished": "8760h"}), TTL, "of at most 168h"),
    "ttl of a template": (template(lifetime={"ttlAfterFinished": "1h"}), TTL, "unknown field"),
    "suspend as a word": (session(suspend="yes"), "spec.suspend", "must be of type boolean"),
    "suspend of a sandbox as a number": (sandbox(suspend=1), "spec.suspend", "of type boolean"),
    "volume without a size": (volume(), SIZE, "Required value"),
    "volume of nothing": (volume(size="0"), SIZE, "from 1Mi to 16Ti"),
    "volume of a petabyte": (volume(size="1Pi"), SIZE, "from 1Mi to 16Ti"),
    "volume of minus one": (volume(size=-1), SIZE, "from 1Mi to 16Ti"),
    "volume in bytes by mistake": (volume(size=10), SIZE, "such as 1Gi or 20Gi"),
    "volume that is no number": (volume(size="lots"), SIZE, "such as 1Gi or 20Gi"),
    "volume of an empty storage class": (
        volume(size="1Gi", storageClassName=""),
        "spec.workspace.volume.storageClassName",
        "at least 1 chars long",
    ),
    "volume with a field of a claim": (
        volume(size="1Gi", accessModes=["ReadWriteMany"]),
        "spec.workspace.volume.accessModes",
        "unknown field",
    ),
    "step timeout of zero": (steps({"timeout": "0s"}), "spec.steps[0].timeout", "above 0"),
    "33 steps": (steps(*[{}] * 33), "spec.steps", "Too many: 33: must have at most 32 items"),
    "two steps of one name": (
        steps({"name": "twice"}, {"name": "twice"}),
        "spec.steps[1]",
        'Duplicate value: {"name":"twice"}',
    ),
    "step without name": (steps({"name": ...}), "spec.steps[0].name", "Required value"),
    "step name in upper case": (
        steps({"name": "Greet"}),
        "spec.steps[0].name",
        "lower case letters",
    ),
    "step name of 64": (steps({"name": "a" * 64}), "spec.steps[0].name", "Too long"),
    "code and argv": (
        steps({"argv": ["true"]}),
        "spec.steps[0]",
        "must have either argv, or language with code",
    ),
    "neither code nor argv": (
        steps({}, NO_CODE),
        "spec.steps[1]",
        "must have either argv, or language with code",
    ),
    "code without language": (
        steps({"language": ...}),
        "spec.steps[0]",
        "language and code belong together",
    ),
    "language without code": (
        steps({"code": ...}),
        "spec.steps[0]",
        "language and code belong together",
    ),
    "empty code": (steps({"code": ""}), "spec.steps[0].code", "at least 1 chars long"),
    "unknown language": (
        steps({"language": "cobol"}),
        "spec.steps[0].language",
        'supported values: "python", "bash"',
    ),
    "empty argv": (
        steps(NO_CODE | {"argv": []}),
        "spec.steps[0].argv",
        "should have at least 1 items",
    ),
    "empty program": (
        steps(NO_CODE | {"argv": ["", "x"]}),
        "spec.steps[0].argv",
        "the first entry must name the program",
    ),
    "argv with NUL": (
        steps(NO_CODE | {"argv": ["echo", "a\0b"]}),
        "spec.steps[0].argv[1]",
        "must not hold a NUL",
    ),
    "argv of 49": (steps(NO_CODE | {"argv": ["x"] * 49}), "spec.steps[0].argv", "Too many: 49"),
    "long argument in 2-byte characters": (
        steps(NO_CODE | {"argv": ["echo", "ü" * 2048 + "x"]}),
        "spec.steps[0].argv[1]",
        "at most 4096 bytes of UTF-8",
    ),
    "code of 64 KiB and 1": (steps({"code": "x" * 65537}), "spec.steps[0].code", "Too long"),
    "code of 64 KiB and 1 in 2-byte characters": (
        steps({"code": "ü" * 32768 + "x"}),
        "spec.steps[0].code",
        "at most 65536 bytes of UTF-8",
    ),
    "stdin of 128 KiB and more in 4-byte characters": (
        steps({"stdin": "🐎" * 32769}),
        "spec.steps[0].stdin",
        "at most 131072 bytes of UTF-8",
    ),
    "inputs too large together": (
        session(
            env=[{"name": "A", "value": "v" * 1000}],
            files=[{"path": "f", "content": "c" * 131072}],
            steps=[
                {"name": "a", "language": "bash", "code": "x" * 60000},
                {"name": "b", "argv": ["echo", "x" * 4000], "stdin": "y" * 1000},
            ],
        ),
        "spec",
        "code, stdin, argv, env and files together must be at most 196608 bytes of UTF-8",
    ),
    "absolute path": (files("/etc/passwd"), FILE, "must be a relative path"),
    "parent": (files("../x"), FILE, "stays inside of the workspace"),
    "parent in the middle": (files("a/../../x"), FILE, "stays inside of the workspace"),
    "parent at the end": (files("a/.."), FILE, "no empty, '.' or '..' part"),
    "only a parent": (files(".."), FILE, "no empty, '.' or '..' part"),
    "this folder": (files("."), FILE, "no empty, '.' or '..' part"),
    "dot in the middle": (files("a/./b"), FILE, "no empty, '.' or '..' part"),
    "empty part": (files("a//b"), FILE, "no empty, '.' or '..' part"),
    "folder for a file": (files("a/"), FILE, "trailing '/'"),
    "empty path": (files(""), FILE, "at least 1 chars long"),
    "path with NUL": (files("a\0b"), FILE, "no control character"),
    "path with a newline": (files("a\nb"), FILE, "no control character"),
    "path part of 256": (files("a" * 256), FILE, "no part above 255 characters"),
    "path of 1025": (files("/".join(["a" * 40] * 25) + "a"), FILE, "Too long"),
    "path of more than 1024 bytes": (files("/".join(["ü" * 60] * 10)), FILE, "at most 1024 bytes"),
    "two files of one path": (files("a", "b", "a"), "spec.files[2]", "Duplicate value"),
    "a file that is also a folder": (
        files("a/b", "a"),
        "spec.files",
        "cannot be a file and the folder of another",
    ),
    "65 files": (files(*map(str, range(65))), "spec.files", "Too many: 65"),
    "env name that starts with a digit": (
        session(env=[{"name": "1X"}]),
        "spec.env[0].name",
        "not start with a digit, such as GREETING",
    ),
    "env name with a dash": (
        session(env=[{"name": "A-B"}]),
        "spec.env[0].name",
        "letters, digits and '_'",
    ),
    "reserved env name": (
        session(env=[{"name": "PADDOCK_SETTINGS"}]),
        "spec.env[0].name",
        "must not start with PADDOCK_",
    ),
    "two env entries of one name": (
        session(env=[{"name": "A"}, {"name": "A", "value": "b"}]),
        "spec.env[1]",
        "Duplicate value",
    ),
    "env value with NUL": (
        session(env=[{"name": "A", "value": "a\0"}]),
        "spec.env[0].value",
        "must not hold a NUL",
    ),
    "env value too large in bytes": (
        session(env=[{"name": "A", "value": "ü" * 16385}]),
        "spec.env[0].value",
        "at most 32768 bytes of UTF-8",
    ),
    "65 env entries": (
        session(env=[{"name": f"A{number}"} for number in range(65)]),
        "spec.env",
        "Too many: 65",
    ),
    "sandbox name above 63": (sandbox("a" * 64), "metadata.name", "at most 63 characters"),
    "sandbox name with a dot": (sandbox("a.b"), "metadata.name", "must be a DNS label"),
    "sandbox that says whose it is": (sandbox(user="alice"), "spec.user", "unknown field"),
    "cpu of zero": (resources(cpu="0"), "spec.resources.cpu", "from 10m to 256"),
    "cpu of zero as a number": (resources(cpu=0), "spec.resources.cpu", "from 10m to 256"),
    "cpu of 257": (resources(cpu=257), "spec.resources.cpu", "from 10m to 256"),
    "cpu as a float": (resources(cpu=0.5), "spec.resources.cpu", "integer"),
    "memory abc": (resources(memory="abc"), "spec.resources.memory", "such as 512Mi or 2Gi"),
    "memory in bytes by mistake": (resources(memory=512), "spec.resources.memory", "from 64Mi"),
    "negative disk": (resources(disk=-1), "spec.resources.disk", "from 1Mi to 16Ti"),
    "no processes": (resources(processes=0), "spec.resources.processes", "greater than or equal"),
    "negative outputBytes": (limits(outputBytes=-1), "spec.limits.outputBytes", "from 1 to 4Mi"),
    "endless outputBytes": (limits(outputBytes="1Ti"), "spec.limits.outputBytes", "to 4Mi"),
    "outputBytes above 4Mi": (limits(outputBytes=(4 << 20) + 1), OUTPUT, "from 1 to 4Mi"),
    "outputBytes that is no number": (limits(outputBytes="many"), OUTPUT, "such as 65536 or 1Mi"),
    "more output than the runtime holds": (
        limits(outputBytes="4Mi", concurrency=5),
        OUTPUT,
        "outputBytes times concurrency must be at most 16Mi, and 4194304 times 5 is 20971520; "
        "lower one of the two",
    ),
    "concurrency for which the default keeps too much": (
        limits(concurrency=17),
        OUTPUT,
        "and 1048576 times 17 is 17825792",
    ),
    "one byte more than the runtime holds": (
        limits(outputBytes=65537, concurrency=256),
        OUTPUT,
        "65537 times 256 is 16777472",
    ),
    "template timeout in days": (limits(timeout="1d"), "spec.limits.timeout", "24h for a day"),
    "no concurrency": (limits(concurrency=0), "spec.limits.concurrency", "greater than or equal"),
    "network that is not offered yet": (
        template(network={"mode": "Internet"}),
        "spec.network.mode",
        'supported values: "None"',
    ),
    "default above its ceiling": (
        template(lifetime={"maxDuration": "48h"}),
        MAX,
        "48h is longer than maxDurationLimit (24h)",
    ),
    "no language": (template(languages=[]), "spec.languages", "at least 1 items"),
    "a language twice": (
        template(languages=["bash", "bash"]),
        "spec.languages[1]",
        "Duplicate value",
    ),
    "image with a space": (template(image="a b"), "spec.image", "without spaces"),
    "module to preload that is none": (
        template(preload=["numpy; import os"]),
        "spec.preload[0]",
        "must be the name of a Python module, such as numpy or xml.etree",
    ),
    "module twice": (template(preload=["numpy", "numpy"]), "spec.preload[1]", "Duplicate value"),
    "logs that is no boolean": (template(logs="yes"), "spec.logs", "boolean"),
    "template env too large together": (
        template(env=[{"name": f"A{number}", "value": "x" * 8200} for number in range(2)]),
        "spec.env",
        "together must be at most 16384 bytes",
    ),
    "bad cluster template": (
        template("ClusterSandboxTemplate", resources={"cpu": "0"}),
        "spec.resources.cpu",
        "from 10m to 256",
    ),
    "session without spec": (
        {name: value for name, value in session().items() if name != "spec"},
        "spec",
        "Required value",
    ),
}

_SLOW = steps({}, {"timeout": "2h"})
_SLOW["spec"]["lifetime"] = {"maxDuration": "1h"}
BAD["step longer than its session"] = (
    _SLOW,
    "spec.steps",
    "the timeout of step s1 is longer than lifetime.maxDuration (1h); lower it",
)


@pytest.mark.parametrize(("manifest", "field", "words"), BAD.values(), ids=BAD.keys())
def test_a_bad_manifest_is_refused(
    kubectl: Kubectl, namespace_of_refusals: str, manifest: Manifest, field: str, words: str
) -> None:
    result = kubectl(
        "create", "-f", "-", stdin=manifest, namespace=namespace_of_refusals, check=False
    )
    assert result.returncode != 0, result.stdout
    said = result.stderr.replace("\\", "")
    assert any(f"{mark}{field}{end}" in said for mark in ' "*[' for end in (":", '"', "[")), said
    assert words in said, said
    assert len(said) < 5000, "the message quotes a large value"


@pytest.fixture(scope="module")
def namespace_of_refusals(kubectl: Kubectl) -> str:
    """One for all: what is refused leaves nothing."""
    kubectl("create", "namespace", "refusals")
    return "refusals"


FULL = session(
    env=[{"name": "A", "value": "1"}],
    files=[{"path": "a", "content": "1"}],
    lifetime={"maxDuration": "1h"},
)
BARE = session(steps=...)

CHANGES: dict[str, tuple[Manifest, dict[str, Any], str]] = {
    "user": (FULL, {"user": "bob"}, "spec.user"),
    "template": (FULL, {"templateRef": {"name": "other"}}, "spec.templateRef"),
    "template kind": (
        FULL,
        {"templateRef": {"kind": "ClusterSandboxTemplate", "name": "python"}},
        "spec.templateRef",
    ),
    "env value": (FULL, {"env": [{"name": "A", "value": "2"}]}, "spec.env"),
    "env removed": (FULL, {"env": ...}, "spec.env"),
    "env emptied": (FULL, {"env": []}, "spec.env"),
    "env added": (BARE, {"env": [{"name": "A"}]}, "spec.env"),
    "file content": (FULL, {"files": [{"path": "a", "content": "2"}]}, "spec.files"),
    "files removed": (FULL, {"files": ...}, "spec.files"),
    "files added": (BARE, {"files": [{"path": "a"}]}, "spec.files"),
    "step code": (FULL, {"steps": [FULL["spec"]["steps"][0] | {"code": "1"}]}, "spec.steps"),
    "step timeout": (FULL, {"steps": [FULL["spec"]["steps"][0] | {"timeout": "1s"}]}, "spec.steps"),
    "steps removed": (FULL, {"steps": ...}, "spec.steps"),
    "steps added": (BARE, {"steps": FULL["spec"]["steps"]}, "spec.steps"),
    "sandbox template": (sandbox(), {"templateRef": {"name": "other"}}, "spec.templateRef"),
}


@pytest.mark.parametrize(("before", "change", "field"), CHANGES.values(), ids=CHANGES.keys())
def test_what_is_immutable_stays(
    kubectl: Kubectl, namespace: str, before: Manifest, change: dict[str, Any], field: str
) -> None:
    kubectl("apply", "-f", "-", stdin=before, namespace=namespace)
    after = deepcopy(before)
    for name, value in change.items():
        if value is ...:
            del after["spec"][name]
        else:
            after["spec"][name] = value
    result = kubectl("apply", "-f", "-", stdin=after, namespace=namespace, check=False)
    assert result.returncode != 0, result.stdout
    assert f"{field}: Invalid value" in result.stderr, result.stderr
    assert "cannot be changed after creation; create another object instead" in result.stderr

"""What a template says of its sandboxes beside limits: modules to import, output to log."""

import json

from e2e import sandboxes
from e2e.kube import Kube, Sandbox
from e2e.runtime_pod import RealPod, signing_key


def test_preloaded_modules_and_logged_output(kube: Kube, namespace: str) -> None:
    spec = {"preload": ["sqlite3", "xml.dom.minidom", "no_such_module"], "logs": True}
    kube.kubectl.apply(sandboxes.template("talking", **spec), namespace)
    kube.create(Sandbox, sandboxes.sandbox("talking", {"name": "talking"}), namespace)
    pod = RealPod(kube, namespace, "talking", signing_key(kube))
    pod.wait_ready()
    told = pod.call("GET", "/v1/capabilities")[1]
    assert told["preloaded"] == ["sqlite3", "xml.dom.minidom"]
    [failed] = told["preloadFailed"]
    assert failed == "no_such_module: ModuleNotFoundError: No module named 'no_such_module'"
    program = "import sys\nprint('sqlite3' in sys.modules, 'xml.dom.minidom' in sys.modules)"
    assert pod.python(program, id="looked")["stdout"]["head"] == "True True\n"
    pod.python("import sys; print('wrong', file=sys.stderr)", id="complained")
    logged = kube.kubectl("logs", "talking", "-c", "runtime", namespace=namespace).stdout
    lines = [json.loads(line) for line in logged.splitlines()]
    said = [(line["execution"], line["stream"], line["text"]) for line in lines if "text" in line]
    assert said == [("looked", "stdout", "True True\n"), ("complained", "stderr", "wrong\n")]


def test_nothing_is_logged_unless_the_template_says_so(kube: Kube, namespace: str) -> None:
    kube.kubectl.apply(sandboxes.template("silent"), namespace)
    kube.create(Sandbox, sandboxes.sandbox("silent", {"name": "silent"}), namespace)
    pod = RealPod(kube, namespace, "silent", signing_key(kube))
    pod.wait_ready()
    pod.bash("echo marked-output; echo marked-error >&2")
    for container in ("runtime", "workspace"):
        logged = kube.kubectl("logs", "silent", "-c", container, namespace=namespace).stdout
        assert "marked" not in logged

"""Shells and other programs: exit codes, 127 both ways, environment, what they leave behind."""

import time

import pytest
from tests.runtime.pod import AS_ROOT, Pod, text


def test_bash(pod: Pod) -> None:
    ended = pod.bash("echo out; echo err >&2; exit 3")
    assert (ended["reason"], ended["exitCode"]) == ("Exited", 3)
    assert (text(ended), text(ended, "stderr")) == ("out\n", "err\n")


def test_bash_larger_than_an_argument_may_be(pod: Pod) -> None:
    program = "x=1\n" * 150_000 + "echo $x; cat\n"
    ended = pod.bash(program, stdin="from stdin")
    assert (ended["exitCode"], text(ended)) == (0, "1\nfrom stdin")


def test_stdin_is_exact(pod: Pod) -> None:
    sent = "zeile\r\n\t\x01 ü" * 1000
    ended = pod.run(argv=["cat"], stdin=sent)
    assert (ended["exitCode"], ended["stdout"]["bytes"]) == (0, len(sent.encode()))
    assert text(ended) == sent
    assert text(pod.run(argv=["wc", "-c"])) == "0\n"


def test_command_not_found_both_ways(pod: Pod) -> None:
    failed = pod.run(argv=["no-such-program"])
    assert (failed["reason"], failed["exitCode"]) == ("StartFailed", 127)
    assert failed["message"] == "no-such-program: command not found"
    assert "cpuMs" not in failed
    said = pod.bash("no-such-program")
    assert (said["reason"], said["exitCode"]) == ("Exited", 127)
    assert text(said, "stderr") == "bash: line 1: no-such-program: command not found\n"


@pytest.mark.parametrize(
    "name",
    ["x" * 3000, "é" * 1500, "😀" * 1900, "\x01" * 3000],
    ids=["x", "two", "four", "escaped"],
)
def test_a_long_name_that_is_not_found_never_ran_either(pod: Pod, name: str) -> None:
    failed = pod.run(argv=[name])
    assert (failed["reason"], failed["exitCode"]) == ("StartFailed", 127)
    assert failed["message"] == f"{name[:200]}: command not found"


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["./plain.txt"], 126, "./plain.txt: Permission denied"),
        (["/nowhere/program"], 127, "/nowhere/program: no such file"),
        (["./bad-interpreter"], 126, "./bad-interpreter: its interpreter, named in its first"),
        (["./no-format"], 126, "./no-format: Exec format error"),
        (["/tmp"], 126, "/tmp: Permission denied"),
        (["echo", "x" * 200_000], 126, "echo: its arguments and environment together are too"),
    ],
)
def test_what_cannot_be_started(pod: Pod, argv: list[str], code: int, message: str) -> None:
    pod.bash(
        "echo x > plain.txt; printf '#!/nowhere\\n' > bad-interpreter; echo x > no-format;"
        "chmod +x bad-interpreter no-format"
    )
    failed = pod.run(argv=argv)
    assert (failed["reason"], failed["exitCode"]) == ("StartFailed", code)
    assert failed["message"].startswith(message)


def test_missing_interpreter_of_an_offered_language(pod: Pod) -> None:
    failed = pod.run(language="cobol", code="DISPLAY 'x'.")
    assert (failed["reason"], failed["exitCode"]) == ("StartFailed", 127)
    assert failed["message"] == "cobol: command not found"


def test_argv_is_passed_as_it_is(pod: Pod) -> None:
    assert text(pod.run(argv=["printf", "%s|", "a b", "$HOME", "", "ü"])) == "a b|$HOME||ü|"


def test_environment(pod: Pod) -> None:
    env = [{"name": "GREETING", "value": "hallo\nwelt"}, {"name": "HOME", "value": "/tmp"}]
    program = "import os, json; print(json.dumps(dict(os.environ)))"
    seen = pod.python(program, env=env)
    for execution in (seen, pod.run(argv=["/usr/bin/python3", "-c", program], env=env)):
        variables = eval(text(execution))
        assert variables["GREETING"] == "hallo\nwelt"
        assert variables["HOME"] == "/tmp"
        assert variables["TMPDIR"].endswith("/tmp")
        assert not [name for name in variables if "KUBERNETES" in name or "PADDOCK" in name]
    later = pod.python("import os; print(os.environ.get('GREETING'), os.environ['HOME'])")
    assert text(later).startswith("None ")


def test_signals_of_other_programs(pod: Pod) -> None:
    ended = pod.run(argv=["/usr/bin/python3", "-c", "import os; os.abort()"])
    assert (ended["reason"], ended["signal"]) == ("Signaled", "SIGABRT")
    ended = pod.bash("kill -9 $$; echo no")
    assert (ended["reason"], ended["signal"]) == ("Signaled", "SIGKILL")
    ended = pod.bash("yes | head -1")  # SIGPIPE must mean what it does in a shell
    assert (ended["exitCode"], text(ended), text(ended, "stderr")) == (0, "y\n", "")


def test_a_child_that_holds_stdout_does_not_hold_the_execution(pod: Pod) -> None:
    began = time.monotonic()
    program = "import subprocess; subprocess.Popen(['sleep', '300']); print('done')"
    ended = pod.python(program)
    assert (ended["exitCode"], text(ended)) == (0, "done\n")
    ended = pod.bash("sleep 300 & echo done")
    assert (ended["exitCode"], text(ended)) == (0, "done\n")
    assert time.monotonic() - began < 2
    if AS_ROOT:
        assert pod.at_rest()


def test_daemons_are_found_and_ended(pod: Pod) -> None:
    ended = pod.bash("(setsid setsid sleep 300 </dev/null >/dev/null 2>&1 &) ; sleep 0.05; echo x")
    assert (ended["exitCode"], text(ended)) == (0, "x\n")
    program = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True: time.sleep(1)
    os._exit(0)
os.wait()
"""
    assert pod.python(program)["exitCode"] == 0
    if AS_ROOT:
        assert pod.at_rest()


def test_orphans_leave_no_zombie_and_lose_no_exit_code(pod: Pod) -> None:
    ended = pod.bash("for i in $(seq 60); do (sh -c 'exit 0' &) ; done; sleep 0.2; exit 9")
    assert ended["exitCode"] == 9
    zombies = pod.bash("cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z '")
    if AS_ROOT:
        assert text(zombies) == "0\n"


def test_accounting(pod: Pod) -> None:
    ended = pod.python("import time; x = bytearray(60 << 20); time.sleep(0.2)")
    assert 60 << 20 < ended["peakMemoryBytes"] < 120 << 20
    assert 200 <= ended["durationMs"] < 600
    assert ended["cpuMs"] < 200
    burner = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    assert 190 <= pod.python(burner)["cpuMs"] < 400
    assert 190 <= pod.run(argv=["/usr/bin/python3", "-c", burner])["cpuMs"] < 500


def test_shared_memory_does_not_outlive_the_last_execution(pod: Pod) -> None:
    if not AS_ROOT:
        pytest.skip("our user may have files of its own there")
    name = f"paddock-{pod.uid}"
    ended = pod.bash(
        f"mkdir -p /dev/shm/{name}/d; echo x > /dev/shm/{name}/d/f; ls /dev/shm/{name}"
    )
    assert text(ended) == "d\n"
    assert text(pod.bash(f"ls /dev/shm/{name} 2>/dev/null; echo .")) == ".\n"


def test_a_signal_sent_at_once_reaches_a_program_that_has_not_begun(pod: Pod) -> None:
    """Two at a time, so that one of them is forked only then."""
    for number in range(15):
        for name in ("a", "b"):
            pod.submit(id=f"early-{name}{number}", argv=["sleep", "60"])
        for name in ("b", "a"):
            path = f"/v1/executions/early-{name}{number}"
            assert pod.call("POST", f"{path}/signal", {"signal": "SIGTERM"})[0] == 200
        for name in ("a", "b"):
            ended = pod.get(f"early-{name}{number}", "?wait=10s")
            assert (ended["state"], ended.get("signal")) == ("Finished", "SIGTERM")

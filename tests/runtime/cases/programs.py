"""What a program's end and output are told as: the first things anybody tries."""

from typing import Any

from tests.runtime.box import Box, text
from tests.runtime.cases.catalogue import case


def outcome(ended: dict[str, Any]) -> tuple[object, object, str, str]:
    """Reason, exit code or signal, stdout, stderr."""
    how = ended.get("exitCode", ended.get("signal"))
    return ended["reason"], how, text(ended), text(ended, "stderr")


@case()
def case_01_print(box: Box) -> None:
    assert outcome(box.python("print(123)")) == ("Exited", 0, "123\n", "")


@case()
def case_02_only_stderr(box: Box) -> None:
    program = "import sys; print('oh', file=sys.stderr)"
    assert outcome(box.python(program)) == ("Exited", 0, "", "oh\n")


@case(rows={"0": ("0", 0, ""), "3": ("3", 3, ""), "259": ("259", 3, ""), "-1": ("-1", 255, ""),
            "text": ("'msg'", 1, "msg\n")})  # fmt: skip
def case_04_sys_exit(box: Box, argument: str, code: int, stderr: str) -> None:
    program = f"import sys; sys.exit({argument})"
    assert outcome(box.python(program)) == ("Exited", code, "", stderr)


@case()
def case_05_os_exit_loses_what_was_not_flushed(box: Box) -> None:
    lost = box.python("import os; print('x'); os._exit(7)")
    assert outcome(lost) == ("Exited", 7, "", "")
    flushed = box.python("import os; print('x', flush=True); os._exit(7)")
    assert outcome(flushed) == ("Exited", 7, "x\n", "")


@case(rows={"assert": ("assert 1 == 2", "AssertionError"),
            "syntax": ("int a = 1", "SyntaxError: invalid syntax")})  # fmt: skip
def case_06_uncaught(box: Box, program: str, last: str) -> None:
    reason, code, stdout, stderr = outcome(box.python(program))
    assert (reason, code, stdout) == ("Exited", 1, "")
    assert stderr.endswith(f"{last}\n")


@case()
def case_06_a_traceback_shows_the_program_s_lines(box: Box) -> None:
    *_, stderr = outcome(box.python("def f():\n    return 1 / 0\n\nf()"))
    assert "line 4, in <module>\n    f()\n" in stderr
    assert "line 2, in f\n    return 1 / 0\n" in stderr
    assert stderr.endswith("ZeroDivisionError: division by zero\n")


@case(rows={"SIGSEGV": ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
            "SIGABRT": ("import os; os.abort()", "SIGABRT")})  # fmt: skip
def case_07_signals_are_named(box: Box, program: str, name: str) -> None:
    ended = box.python(program)
    assert (ended["reason"], ended["signal"]) == ("Signaled", name)
    assert "exitCode" not in ended
    assert box.call("GET", "/readyz")[0] == 200


@case(rows=["python", "bash"])
def case_a_kill_is_told_with_its_signal(box: Box, language: str) -> None:
    program = "kill -9 $$" if language == "bash" else "import os; os.kill(os.getpid(), 9)"
    ended = box.run(language=language, code=program)
    assert outcome(ended)[:2] == ("Signaled", "SIGKILL")
    assert ended["oomKills"] == 0


@case()
def case_20_a_lone_surrogate(box: Box) -> None:
    reason, code, stdout, stderr = outcome(box.python("print(chr(56550))"))
    assert (reason, code, stdout) == ("Exited", 1, "")
    assert "UnicodeEncodeError" in stderr


@case(rows=["python", "bash"])
def case_21_nul_in_code(box: Box, language: str) -> None:
    request = {"id": box.new_id(), "language": language, "code": "a = 1\0"}
    status, problem = box.call("POST", "/v1/executions", request)
    assert (status, problem["code"]) == (422, "InvalidRequest")
    assert problem["detail"].startswith("code: holds a NUL")
    without = box.run(**{**request, "code": "a=1"})
    assert without["exitCode"] == 0, "refused, so its id was not taken"


@case(rows=["python", "bash"])
def case_21_empty_code(box: Box, language: str) -> None:
    assert outcome(box.run(language=language, code="")) == ("Exited", 0, "", "")


@case(rows=["python", "bash"])
def case_21_a_megabyte_of_code(box: Box, language: str) -> None:
    last = "print(x)" if language == "python" else "echo $x"
    code = "x=1\n" * ((1_000_000 - len(last)) // 4) + last
    assert 999_990 < len(code) <= 1_000_000
    assert outcome(box.run(language=language, code=code)) == ("Exited", 0, "1\n", "")


@case()
def case_27_unknown_command(box: Box) -> None:
    failed = box.run(argv=["no-such-program"])
    assert outcome(failed) == ("StartFailed", 127, "", "")
    assert failed["message"] == "no-such-program: command not found"
    said = box.bash("no-such-program")
    assert outcome(said)[:2] == ("Exited", 127)
    assert "command not found" in text(said, "stderr")


@case()
def case_27_not_executable(box: Box) -> None:
    failed = box.bash("mkdir -p 27; echo x > 27/plain") and box.run(argv=["27/plain"])
    assert outcome(failed) == ("StartFailed", 126, "", "")
    assert failed["message"] == "27/plain: Permission denied"
    box.bash("chmod +x 27/plain; printf '#!/bin/sh\\necho ran\\n' > 27/plain")
    assert text(box.run(argv=["27/plain"])) == "ran\n"


@case(rows={"missing": "no/such", "file": "27f", "loop": "27l"})
def case_27_cwd_that_is_no_directory(box: Box, cwd: str) -> None:
    box.bash("touch 27f; ln -sfn 27l 27l")
    failed = box.bash("echo ran", cwd=cwd)
    assert failed["reason"] == "StartFailed"
    assert failed["exitCode"] in (126, 127)
    assert cwd in failed["message"], "says which"
    assert text(failed) == ""


@case()
def case_28_environment_of_each_level(box: Box) -> None:
    show = "echo $LEVEL $OF_TEMPLATE $OF_RUN"
    assert text(box.bash(show)) == "template template\n"
    env = [{"name": "LEVEL", "value": "run"}, {"name": "OF_RUN", "value": "run"}]
    assert text(box.bash(show, env=env)) == "run template run\n"
    assert text(box.bash(show)) == "template template\n", "the next run sees the old values"


@case()
def case_28_no_token_in_the_environment(box: Box) -> None:
    names = text(box.bash("env | cut -d= -f1")).split()
    assert {"PATH", "HOME", "LEVEL"} <= set(names)
    words = ("TOKEN", "SECRET", "KEY", "PASSWORD", "PADDOCK", "KUBERNETES")
    assert not [name for name in names if any(word in name for word in words)]


@case()
def case_29_a_shell_keeps_its_directory(box: Box) -> None:
    program = 'mkdir -p 29/deep; cd 29; cd deep; echo "${PWD##*/}"; echo x > here; cat ../deep/here'
    assert text(box.bash(program)) == "deep\nx\n"
    home = text(box.bash("pwd"))
    assert not home.endswith("deep\n"), "of this run alone"


@case()
def case_29_an_explicit_directory_wins(box: Box) -> None:
    box.bash("mkdir -p 29/deep; cd 29/deep; pwd")
    assert text(box.bash("pwd", cwd="29")).endswith("/29\n")
    assert text(box.bash("cd deep; pwd", cwd="29")).endswith("/29/deep\n")
    assert text(box.bash("pwd", cwd="/tmp")) == "/tmp\n"
    shown = box.python("import os; print(os.getcwd())", cwd="29/deep")
    assert text(shown).endswith("/29/deep\n")


@case()
def case_29_here_document_and_exec(box: Box) -> None:
    program = (
        "cat <<'END'\n$HOME stays\nEND\nexec sh -c 'echo replaced; exit 5'\necho not reached\n"
    )
    assert outcome(box.bash(program)) == ("Exited", 5, "$HOME stays\nreplaced\n", "")


@case()
def case_no_start_up_file_changes_a_run(box: Box) -> None:
    """A shell that read them would swallow or add to what the program says."""
    files = ".bashrc .bash_profile .profile .bash_login .bash_logout .pythonstartup"
    box.bash(f"for f in {files}; do echo 'echo from $f; exit 9' > $HOME/$f; done")
    try:
        assert outcome(box.bash("echo mine")) == ("Exited", 0, "mine\n", "")
        assert outcome(box.python("print('mine')")) == ("Exited", 0, "mine\n", "")
    finally:
        box.run(argv=["sh", "-c", f"cd $HOME && rm {files}"])


@case()
def case_thread_pools_follow_the_limit_and_not_the_node(box: Box) -> None:
    shown = box.python("import os; print(os.environ['OMP_NUM_THREADS'])")
    assert text(shown) == "1\n", "one CPU is what the template gives"


@case()
def case_repeating_what_has_ended_runs_nothing(box: Box) -> None:
    request = {"id": box.new_id(), "language": "bash", "code": "echo x >> once; wc -l < once"}
    first = box.run(**request)
    again = box.run(**request)
    assert first == again
    assert text(box.bash("wc -l < once; rm once")) == "1\n"


@case()
def case_cancelling_what_has_ended_changes_nothing(box: Box) -> None:
    ended = box.bash("echo x; exit 3")
    assert box.cancel(ended["id"]) == ended
    assert box.get(ended["id"]) == ended

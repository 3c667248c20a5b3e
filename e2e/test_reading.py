"""What people see: the table of sessions and the story that `kubectl describe` tells."""

import re

import pytest
from e2e.examples import ExamplesRun

COLUMNS = ["NAME", "PHASE", "RESULT", "EXIT", "DURATION", "AGE"]
WIDE = ["USER", "SANDBOX", "LAUNCH", "MESSAGE"]
DURATION = re.compile(r"([0-9]+s)?([0-9]+ms)?")
ROWS = {
    "hello": ("Succeeded", "Exited", "0"),
    "exit-3": ("Failed", "Exited", "3"),
    "wall-timeout": ("Failed", "WallTimeout", ""),
    "output-flood": ("Succeeded", "Exited", "0"),
    "memory-bomb": ("Succeeded", "MemoryLimit", ""),
    "next-session": ("Succeeded", "Exited", "0"),
    "stdin-and-files": ("Succeeded", "Exited", "0"),
    "unicode": ("Succeeded", "Exited", "0"),
    "three-steps": ("Succeeded", "Exited", "2"),
    "exec-127": ("Failed", "StartFailed", "127"),
    "shell-127": ("Failed", "Exited", "127"),
    "fork-bomb": ("Failed", "ProcessLimit", ""),
    "held-stdout": ("Succeeded", "Exited", "0"),
    "segfault": ("Failed", "Signaled", ""),
    "open-session": ("Expired", "", ""),
    "idle-session": ("Expired", "", ""),
    "own-template": ("Succeeded", "Exited", "0"),
}
MOST_EVENTS = 6
STORIES = {
    "hello": [("Normal", "SandboxReady"), ("Normal", "Completed")],
    "exit-3": [("Normal", "SandboxReady"), ("Warning", "StepFailed")],
    "three-steps": [("Normal", "SandboxReady"), ("Warning", "StepFailed"), ("Normal", "Completed")],
    "memory-bomb": [("Normal", "SandboxReady"), ("Warning", "StepFailed"), ("Normal", "Completed")],
    "segfault": [("Normal", "SandboxReady"), ("Warning", "StepFailed")],
    "open-session": [("Normal", "SandboxReady"), ("Normal", "Expired")],
}


def read_table(text: str) -> list[dict[str, str]]:
    """kubectl's table: cells begin where their column's header does; empty ones are blank."""
    header, *lines = text.rstrip("\n").split("\n")
    starts = [match.start() for match in re.finditer(r"\S+", header)]
    names = header.split()
    ends = [*starts[1:], None]
    return [
        {
            name: line[begin:end].strip()
            for name, begin, end in zip(names, starts, ends, strict=True)
        }
        for line in lines
    ]


def test_the_table_has_a_line_with_result_exit_code_and_duration_for_each(
    examples: ExamplesRun,
) -> None:
    for name in ROWS:
        examples.finished(name)
    text = examples.kube.kubectl("get", "ags", namespace=examples.namespace).stdout
    rows = {row["NAME"]: row for row in read_table(text)}
    assert text.split("\n")[0].split() == COLUMNS
    told = {name: (row["PHASE"], row["RESULT"], row["EXIT"]) for name, row in rows.items()}
    assert told == ROWS, text
    for name, row in rows.items():
        assert row["AGE"], text
        if name not in ("open-session", "idle-session"):
            assert row["DURATION"], text
            assert DURATION.fullmatch(row["DURATION"]), text


def test_the_wide_table_says_whose_it_was_where_it_ran_and_what_to_know(
    examples: ExamplesRun,
) -> None:
    examples.finished("segfault")
    told = examples.kube.kubectl("get", "ags", "-o", "wide", namespace=examples.namespace).stdout
    row = next(row for row in read_table(told) if row["NAME"] == "segfault")
    assert told.split("\n")[0].split() == COLUMNS + WIDE
    assert row["USER"] == "alice"
    assert re.fullmatch(r"segfault-[a-z0-9]{5}", row["SANDBOX"])
    assert row["LAUNCH"] == "Cold"
    assert row["MESSAGE"].startswith("step crash: Signaled by SIGSEGV")


@pytest.mark.parametrize("name", STORIES)
def test_describe_tells_the_story_in_a_handful_of_events(examples: ExamplesRun, name: str) -> None:
    examples.finished(name)
    told = examples.until_told(name, STORIES[name][-1][1])
    lines = told.split("\nEvents:")[1].split("\n")[3:]
    story = [tuple(line.split()[:2]) for line in lines if line.strip()]
    assert len(story) <= MOST_EVENTS
    assert story == STORIES[name], told


def test_one_failure_is_one_warning_and_names_the_step(examples: ExamplesRun) -> None:
    session = examples.finished("exit-3")
    examples.until_told("exit-3", "StepFailed")
    events = examples.kube.events(examples.namespace, "exit-3")
    failed = [event for event in events if event["reason"] == "StepFailed"]
    assert [event["message"] for event in failed] == [
        "step fail: Exited with exit code 3. Read status.steps for its output."
    ]
    assert failed[0]["involvedObject"]["uid"] == session["metadata"]["uid"]

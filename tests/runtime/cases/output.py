"""Every byte is counted, no character is broken, nobody waits for a reader."""

from typing import Any

from tests.runtime.box import Box, text
from tests.runtime.cases.catalogue import TIGHT, WIDE, case
from tests.runtime.cases.looking import good

MIB = 1 << 20


def counted(ended: dict[str, Any], stream: str = "stdout") -> int:
    """Bytes of a stream that went well, having checked them against what is shown of it."""
    output: dict[str, Any] = ended[stream]
    shown = len((output["head"] + output["tail"]).encode())
    assert output["bytes"] == shown + output["omitted"]
    return int(output["bytes"])


@case(rows=[120_000, 190_000, 1_000_000, 10_000_000])
def case_16_exactly_so_many_bytes(box: Box, size: int) -> None:
    ended = box.python(f"import sys; sys.stdout.write('x' * {size})")
    assert (ended["reason"], ended["exitCode"], counted(ended)) == ("Exited", 0, size)
    assert ended["truncated"] is (size > MIB)
    assert len(text(ended)) == min(size, MIB)


@case(rows=["python", "bash"])
def case_17_both_streams_at_once(box: Box, language: str) -> None:
    program = {
        "python": "import sys\nfor _ in range(2000):\n"
        "    sys.stdout.write('o' * 100); sys.stderr.write('e' * 100); sys.stdout.flush()",
        "bash": "for i in {1..400}; do printf '%0500d' 0; printf '%0500d' 1 >&2; done",
    }[language]
    ended = box.run(language=language, code=program)
    assert ended["exitCode"] == 0
    assert (counted(ended), counted(ended, "stderr")) == (200_000, 200_000)
    mark = {"python": ("o", "e"), "bash": ("0", "01")}[language]
    assert (set(text(ended)), set(text(ended, "stderr"))) == (set(mark[0]), set(mark[1]))


@case()
def case_18_half_a_character_at_the_end(box: Box) -> None:
    program = "import os; os.write(1, b'a' * 8191 + b'\\xe2')"
    ended = box.python(program)
    assert (ended["exitCode"], text(ended)) == (0, "a" * 8191 + "\ufffd")
    assert ended["stdout"]["bytes"] == 8192


@case()
def case_19_a_character_in_two_writes(box: Box) -> None:
    program = """
import os, time
for byte in "a🎉ü€b".encode():
    os.write(1, bytes([byte])); time.sleep(0.02)
"""
    assert good(box.python(program)) == "a🎉ü€b"


@case(rows={"utf-8": ("", None), "base64": ("?encoding=base64", "base64")})
def case_raw_bytes_come_back_on_request(box: Box, query: str, encoding: str | None) -> None:
    import base64

    program = "import os; os.write(1, bytes(range(256)))"
    ended = box.python(program)
    shown = box.get(ended["id"], query)["stdout"]
    raw = bytes(range(256))
    if encoding is None:
        assert shown["head"] + shown["tail"] == raw.decode(errors="replace")
    else:
        assert shown["encoding"] == encoding
        assert base64.b64decode(shown["head"]) + base64.b64decode(shown["tail"]) == raw


@case(TIGHT)
def case_kept_output_is_bounded_in_bytes_not_in_characters(box: Box) -> None:
    ended = box.python("print('ü🎉' * 100_000)")
    assert ended["stdout"]["bytes"] == 600_001
    kept = len(text(ended).encode())
    assert (64 << 10) - 8 < kept <= 64 << 10
    assert "\ufffd" not in text(ended), "a cut takes whole characters"
    assert ended["stdout"]["omitted"] == 600_001 - kept


@case()
def case_a_broken_pipe_is_the_programs_own(box: Box) -> None:
    ended = box.bash("yes | head -1; exec 1>&-; echo lost; echo code $? >&2")
    assert text(ended) == "y\n"
    assert text(ended, "stderr").endswith("code 1\n")


@case(WIDE)
def case_40_twenty_at_once(box: Box) -> None:
    code = "import time\nfor _ in range(20): print('{0}' * 50, flush=True); time.sleep({1})"
    marks = [chr(97 + number) for number in range(20)]
    naps = [0.005 if number % 2 else 0.02 for number in range(20)]
    started = [
        box.submit(language="python", code=code.format(mark, nap))
        for mark, nap in zip(marks, naps, strict=True)
    ]
    for execution, mark, nap in zip(started, marks, naps, strict=True):
        ended = box.get(execution["id"], "?wait=25s")
        assert good(ended) == (mark * 50 + "\n") * 20
        assert 20 * nap * 1000 <= ended["durationMs"] < 20_000

"""How cases are written down, and the sandboxes that they are given."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tests.runtime.box import Box, Template, text

from paddock_api.messages import Limits

STANDARD = Template(
    "standard",
    Limits(timeout_ms=30_000, cpu_millis=1000),
    env={"LEVEL": "template", "OF_TEMPLATE": "template"},
)
TIGHT = Template(
    "tight",
    Limits(
        timeout_ms=30_000,
        cpu_time_ms=1000,
        output_bytes=64 << 10,
        output_kill_bytes=20 << 20,
        file_bytes=20 << 20,
        disk_bytes=30 << 20,
        cpu_millis=1000,
    ),
)
SMALL = Template(
    "small",
    Limits(timeout_ms=20_000, memory_bytes=96 << 20, processes=40, cpu_millis=1000),
    memory=True,
)
CRAMPED = Template("cramped", Limits(memory_bytes=64 << 20, cpu_millis=1000), memory=True)
"""With as little memory as a template may give; /dev/shm of most nodes holds as much."""
QUIET = Template("quiet", Limits(output_idle_timeout_ms=2000, cpu_millis=1000))
WIDE = Template("wide", Limits(concurrency=20, output_bytes=64 << 10, cpu_millis=1000))

Need = Literal["user"]
"""user: a user id and a PID namespace that nobody else has, as in a pod."""


@dataclass(frozen=True)
class Case:
    """One test: `run` is given a box of `template`, then the row `arguments`."""

    name: str
    run: Callable[..., None]
    arguments: tuple[Any, ...]
    template: Template
    own: bool
    needs: tuple[Need, ...]
    only_pods: str | None
    """Why it cannot be had without a pod."""
    beside: Template | None
    """What a second sandbox, given after the first, is made of."""

    def __str__(self) -> str:
        return self.name


ALL: list[Case] = []
Rows = Mapping[str, object] | Sequence[object]


def case(
    template: Template = STANDARD,
    *,
    rows: Rows | None = None,
    own: bool = False,
    needs: tuple[Need, ...] = (),
    only_pods: str | None = None,
    beside: Template | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Makes cases of a function: one, or one for each row. `own`: it spoils its sandbox."""

    def register(run: Callable[..., None]) -> Callable[..., None]:
        name = run.__name__.removeprefix("case_")
        for label, row in _labelled(rows):
            arguments = row if isinstance(row, tuple) else (row,)
            if rows is None:
                arguments = ()
            made = Case(name + label, run, arguments, template, own, needs, only_pods, beside)
            ALL.append(made)
        return run

    return register


def _labelled(rows: Rows | None) -> list[tuple[str, object]]:
    if rows is None:
        return [("", None)]
    if isinstance(rows, Mapping):
        return [(f"-{label}", row) for label, row in rows.items()]
    return [(f"-{row}", row) for row in rows]


Maker = Callable[[Template], contextlib.AbstractContextManager[Box]]


class Boxes:
    """One sandbox per template, made when it is first needed and shared while it works."""

    def __init__(self, make: Maker) -> None:
        self._make = make
        self._open: dict[Template, tuple[Box, contextlib.ExitStack]] = {}

    def carry_out(self, case: Case) -> None:
        """The case; behind it, a shared sandbox must still do what it did before."""
        if case.own:
            with self._make(case.template) as box:
                case.run(box, *case.arguments)
            return
        try:
            box = self.shared(case.template)
            others = [self.shared(case.beside)] if case.beside else []
            case.run(box, *others, *case.arguments)
            assert text(box.python("print(1 + 1)")) == "2\n"
        except BaseException:
            self._drop(case.template)
            raise

    def shared(self, template: Template) -> Box:
        if template not in self._open:
            with contextlib.ExitStack() as stack:
                box = stack.enter_context(self._make(template))
                self._open[template] = box, stack.pop_all()
        return self._open[template][0]

    def close(self) -> None:
        for template in list(self._open):
            self._drop(template)

    def _drop(self, template: Template) -> None:
        _, stack = self._open.pop(template, (None, contextlib.ExitStack()))
        stack.close()


@contextlib.contextmanager
def opened(make: Maker) -> Iterator[Boxes]:
    boxes = Boxes(make)
    try:
        yield boxes
    finally:
        boxes.close()

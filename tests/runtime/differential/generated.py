"""Programs made by a seeded generator: the same ones in every run, with no expected output.

Each has a few statements over a small world of numbers, strings and lists. Most end well, some
raise; what they print is exact.
"""

import random
from collections.abc import Callable, Iterator

from tests.runtime.differential.programs import Program

PYTHON_PROGRAMS, SHELL_PROGRAMS = 150, 75
_NUMBERS = ("0", "1", "-1", "2", "3", "7", "10", "25", "1.5", "-0.25", "1e3", "2**70", "True")
_STRINGS = ("''", "'a'", "'Ab c'", "'x,y,,z'", "'né日'", "'  pad '", "'12'", "'a\\tb\\n'")
_METHODS = (
    "upper()",
    "title()",
    "split()",
    "split(',')",
    "strip()",
    "encode()",
    "zfill(6)",
    "center(9, '*')",
    "replace('a', 'bb')",
    "find('b')",
    "partition(' ')",
    "isdigit()",
    "casefold()",
    "splitlines()",
    "rjust(7)",
)
_SHELL_WORDS = ("abc", "a.b.c", "path/to/file.txt", "Hello World", "x", "", "aXbXc", "007", "né")


def generated() -> Iterator[Program]:
    """Python first; each program depends on its own number only."""
    for number in range(PYTHON_PROGRAMS):
        yield Program(f"generated: python {number}", Python(random.Random(number)).program())
    for number in range(SHELL_PROGRAMS):
        code = _shell(random.Random(10_000 + number))
        yield Program(f"generated: bash {number}", code, "bash")


class Python:
    """One program; `names` are the variables that exist where a statement stands."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._names: list[str] = []

    def program(self) -> str:
        parts = []
        for _ in range(self._dice.randint(4, 9)):
            part = self._statement(depth=0)
            if self._dice.random() < 0.85:
                lines = part.replace("\n", "\n    ")
                part = f"try:\n    {lines}\nexcept Exception as error:\n    print(repr(error))"
            parts.append(part)
        return "\n".join([*parts, f"print({', '.join(self._names)})"]) + "\n"

    def _statement(self, depth: int) -> str:
        kinds: list[Callable[[int], str]] = [self._assign, self._assign, self._show, self._show]
        if depth < 2:
            kinds += [self._loop, self._guarded, self._function, self._class, self._condition]
        if self._dice.random() < 0.03:
            return f"raise {self._dice.choice(('ValueError', 'KeyError'))}({self._value()})"
        return self._dice.choice(kinds)(depth)

    def _assign(self, depth: int) -> str:
        name = self._dice.choice("abcdefgh")
        text = f"{name} = {self._value()}"
        if depth == 0 and name not in self._names:
            self._names.append(name)
        return text

    def _show(self, depth: int) -> str:
        forms = (
            "print({}, {})",
            "print(repr({}), type({}).__name__)",
            "print(f'{{{}=}} {{{}!r:>9}}')",
        )
        a, b = self._value(), self._value()
        form = self._dice.choice(forms[: 2 if set("'\\\\") & set(a + b) else 3])
        return form.format(a, b)

    def _loop(self, depth: int) -> str:
        head = f"for i in range({self._dice.randint(0, 4)}):"
        return f"{head}\n{self._block(depth)}"

    def _condition(self, depth: int) -> str:
        return f"if {self._value()}:\n{self._block(depth)}\nelse:\n{self._block(depth)}"

    def _guarded(self, depth: int) -> str:
        caught = self._dice.choice(("Exception", "TypeError", "(ValueError, ZeroDivisionError)"))
        return (
            f"try:\n{self._block(depth)}\nexcept {caught} as error:\n"
            f"    print(type(error).__name__, error)\nfinally:\n    print('finally')"
        )

    def _function(self, depth: int) -> str:
        number = self._dice.randint(1, 99)
        body = f"    return {self._value(('x', 'y'))}"
        call = f"print(f{number}({self._value()}, y={self._value()}))"
        return f"def f{number}(x, y=2, *rest, **more):\n{body}\n{call}"

    def _class(self, depth: int) -> str:
        number = self._dice.randint(1, 99)
        return (
            f"class C{number}:\n    kind = {self._atom()}\n"
            f"    def __init__(self, v): self.v = v\n"
            f"    def __add__(self, other): return C{number}((self.v, other))\n"
            f"    def __repr__(self): return f'C{number}({{self.v!r}})'\n"
            f"print(C{number}({self._value()}) + {self._atom()}, C{number}.kind)"
        )

    def _block(self, depth: int) -> str:
        known = list(self._names)
        lines = [self._statement(depth + 1) for _ in range(self._dice.randint(1, 2))]
        self._names = known
        return "\n".join("    " + line for text in lines for line in text.split("\n"))

    def _value(self, names: tuple[str, ...] = (), depth: int = 0) -> str:
        if depth > 2 or self._dice.random() < 0.3:
            return self._atom(names)
        a = self._value(names, depth + 1)
        b = self._value(names, depth + 1)
        operator = self._dice.choice(("+", "-", "*", "/", "//", "%", "<", "==", "and", "or"))
        small = str(self._dice.randint(0, 4))
        forms = (
            f"({a} {operator} {b})",
            f"({a} {operator} {b})",
            f"[{a}, {b}]",
            f"({a}, {b}, {small})[{small} % 3]",
            f"{{'k': {a}, {small}: {b}}}",
            f"[j {operator} {small} for j in range({small})]",
            f"sorted([{small}, 2, 1], reverse=not {a})",
            f"str({a}).{self._dice.choice(_METHODS)}",
            f"len(str({a}))",
            f"(lambda z: z if z else {b})({a})",
            f"sum(n * n for n in range({small}))",
            f"({a} if {b} else {small})",
            f"'%s-%05.1f' % ({a}, {small})",
            f"f'{{{small}:+d}}' + {self._dice.choice(_STRINGS)}",
        )
        return self._dice.choice(forms)

    def _atom(self, names: tuple[str, ...] = ()) -> str:
        pool = (*self._names, *names) * 4 + _NUMBERS + _STRINGS + ("None", "[1, 2]", "'abc'[1]")
        return self._dice.choice(pool)


def _shell(dice: random.Random) -> str:
    lines = [f"v='{dice.choice(_SHELL_WORDS)}'; n={dice.randint(-9, 99)}"]
    makers = (_arithmetic, _expansion, _test, _shell_loop, _pipeline)
    lines += [dice.choice(makers)(dice) for _ in range(dice.randint(4, 9))]
    lines += [f"exit $((n & {dice.choice((1, 3, 7, 255))}))"]
    return "\n".join(lines) + "\n"


def _arithmetic(dice: random.Random) -> str:
    operators = ("+", "-", "*", "/", "%", "**", "<<", ">>", "&", "|", "^", "<", "==", "&&", "||")
    operator, b = dice.choice(operators), dice.choice("01235")
    a = dice.choice(("n", "7", "-3", "0x1f", "010", "2#101"))
    return f"echo $(({a} {operator} {b})) $((n += {b})) || echo failed"


def _expansion(dice: random.Random) -> str:
    forms = "${v} ${#v} ${v:1:2} ${v#*.} ${v##*/} ${v%.*} ${v%%X*} ${v/X/-} ${v//a/[]} ${v^^}"
    more = " ${v,} ${v:-none} ${u:-none} ${v:+set} ${v@Q} ${v: -2} ${u-unset} ${!v*}"
    return f'printf "<%s>\\n" "{dice.choice((forms + more).split(" "))}"'


def _test(dice: random.Random) -> str:
    forms = (
        '[[ $v == a* ]] && echo glob || echo "no glob $?"',
        '[[ $v =~ ^([a-z]+) ]]; echo "$? ${BASH_REMATCH[1]}"',
        '[ "$n" -gt 5 ]; echo $?',
        '[ -n "$v" ] && echo filled',
        "(( n % 2 )) && echo odd || echo even",
        'case $v in *.*) echo dot;; [A-Z]*) echo upper;; "") echo empty;; *) echo other;; esac',
    )
    return dice.choice(forms)


def _shell_loop(dice: random.Random) -> str:
    forms = (
        'for i in {1..3}; do echo -n "$i$v "; done; echo',
        'i=0; while ((i < 3)); do ((i++)); ((i == 2)) && continue; echo "$i"; done',
        'a=($v $n end); echo "${#a[@]} ${a[-1]} ${a[*]:0:2}"',
        'f() { local v=$1; echo "in $v"; return $(($2 & 3)); }; f "$n" 6; echo "$? $v"',
        'while IFS= read -r l; do echo "[$l]"; done <<< "$v"$\'\\nlast\'',
    )
    return dice.choice(forms)


def _pipeline(dice: random.Random) -> str:
    forms = (
        "echo \"$v\" | tr 'a-z' 'A-Z' | rev",
        "seq 5 | while read -r i; do echo $((i * n)); done | tail -1",
        'x=$(echo "$v"; exit 3); echo "$? $x"',
        'echo "$n" | grep -q 1; echo "${PIPESTATUS[@]}"',
        'no-such-command "$v"; echo $?',
        'printf "%05d|%-5s|%x\\n" "$n" "$v" 255',
        "cat <<END\n$v and $((n + 1))\nEND",
        'ls "$v" > /dev/null 2>&1 || echo "no $v" >&2',
    )
    return dice.choice(forms)

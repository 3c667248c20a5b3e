"""What a run has shown: a line per scenario as it goes, and all of it at the end."""

from collections import Counter

from tests.faults.observer import Violation
from tests.faults.scenario import Result

SENTENCE_CHARS = 3000


class Report:
    """Results of many runs."""

    def __init__(self) -> None:
        self._scenarios: Counter[str] = Counter()
        self._injected: Counter[str] = Counter()
        self._checks: Counter[str] = Counter()
        self._writes: Counter[tuple[str, str]] = Counter()
        self._violations: list[tuple[str, int, Violation]] = []
        self._known: list[tuple[str, str]] = []
        self._mutants: list[str] = []
        self._wrong: list[str] = []
        self._lives = 0

    @property
    def good(self) -> bool:
        return not self._violations and not self._wrong

    def add(self, result: Result) -> None:
        """Take in one run, and print its line."""
        scenario = result.scenario
        self._scenarios[scenario.name] += 1
        self._injected += result.injected
        self._checks += result.checks
        self._writes += result.writes
        self._lives += result.lives
        state = "ok"
        if scenario.bug and result.violations:
            state = "BUG"
            self._known.append((scenario.name, scenario.bug))
        elif scenario.bug:
            state = "GONE"
            self._wrong.append(
                f"{scenario.name} no longer shows its bug: remove `bug` from its row"
            )
        elif result.violations:
            state = "WRONG"
            self._violations += [(scenario.name, result.seed, v) for v in result.violations]
        faults = ", ".join(f"{count} × {name}" for name, count in sorted(result.injected.items()))
        numbers = f"{result.seconds:5.1f} s  {result.checks.total():5} checks"
        print(f"{state:5} {scenario.name:42} {numbers}  {faults or 'no faults'}", flush=True)
        if state == "WRONG":
            self._details(result)

    def add_mutant(self, name: str, result: Result, caught: bool) -> None:
        """Take in a mutant's run: it must have been caught."""
        said = f"{name}: {len(result.violations)} violations by {result.scenario.name}"
        self._mutants.append(said)
        print(f"{'ok' if caught else 'LIVES':5} mutant {said}", flush=True)
        if not caught:
            self._wrong.append(f"mutant {name} was not caught by {result.scenario.name}")
            self._details(result)

    def _details(self, result: Result) -> None:
        for violation in result.violations:
            print(f"      {str(violation)[:SENTENCE_CHARS]}")
        print("      --- writes and the operator's log:")
        print(result.log, flush=True)

    def text(self) -> str:
        """The whole report."""
        runs = f"{self._scenarios.total()} runs of {len(self._scenarios)} scenarios"
        lines = ["", f"{runs}, {self._lives} lives of the operator", "", "faults injected"]
        lines += [f"{count:8} {name}" for name, count in sorted(self._injected.items())]
        lines += [f"{self._injected.total():8} in all", "", "invariants checked"]
        lines += [f"{count:8} {name}" for name, count in sorted(self._checks.items())]
        lines += [f"{self._checks.total():8} in all", "", "writes of the operator"]
        lines += [f"{n:8} {verb} {what}" for (verb, what), n in sorted(self._writes.items())]
        lines += ["", "mutants", *(f"         {name}" for name in self._mutants)]
        lines += ["", f"{len(self._violations)} violations"]
        lines += [
            f"         {name} (seed {seed}): {str(violation)[:SENTENCE_CHARS]}"
            for name, seed, violation in self._violations
        ]
        lines += [f"         {sentence}" for sentence in self._wrong]
        for name, bug in sorted(set(self._known)):
            lines.append(f"known bug, shown by {name}: {bug}")
        return "\n".join(lines)

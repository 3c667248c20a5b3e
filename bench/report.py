"""Samples to a table: quantiles, and ratios against the baseline of the same run."""

import math
from collections.abc import Mapping, Sequence


def quantile(samples: Sequence[float], q: float) -> float:
    """Nearest-rank quantile."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def table(rows: Mapping[str, Sequence[float]], baselines: Mapping[str, str]) -> str:
    """One line per measurement, milliseconds."""
    lines = [
        f"{'':<34}{'n':>5}{'min':>9}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}   ratio of p50",
    ]
    for name, samples in rows.items():
        if not samples:
            continue
        ms = [1000 * sample for sample in samples]
        shown = (min(ms), *(quantile(ms, q) for q in (0.5, 0.9, 0.99)), max(ms))
        line = f"{name:<34}{len(ms):>5}" + "".join(f"{value:>9.1f}" for value in shown)
        if base := baselines.get(name):
            ratio = quantile(samples, 0.5) / quantile(rows[base], 0.5)
            line += f"   {ratio:.3f} x {base}"
        lines.append(line)
    return "\n".join(lines)

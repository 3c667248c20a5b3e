"""How much a JSON text will be in memory, told before it is parsed.

A parsed value takes hundreds of bytes where its text takes two: 4 MiB of `{},` were 240 MiB of
memory, of a container that has 128. What clients send is a few long strings and short lists.
"""

VALUES = 16384
"""In one body; `argv` is the only list that may be long. With them a body takes 12 MiB at most,
itself included (tests/runtime/test_bounds.py)."""


def values_in(text: bytes) -> int:
    """Values of a JSON text, itself among them, no fewer than a parser will make of it.

    A value stands at the beginning or behind a comma, a bracket or a brace, and so does each
    member of an object. Strings are taken out first; more of them than values may be, keys and
    all, are counted instead.
    """
    if b"\\" in text:
        text = text.replace(rb"\\", b"").replace(rb"\"", b"")
    strings = text.count(b'"') // 2
    if strings > 2 * VALUES:
        return strings // 2
    outside = b"".join(text.split(b'"')[::2])
    return 1 + sum(map(outside.count, (b",", b"[", b"{")))

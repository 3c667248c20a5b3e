"""Parameters that several operations take."""

from paddock_api.executions import OutputEncoding
from paddock_api.messages import ID_PATTERN
from paddock_api.runtime_api.shapes import Parameter

MOST = 10**15 - 1
"""Of whole numbers in a query."""
COUNT = {"type": "integer", "minimum": 0, "maximum": MOST}
WAIT_PATTERN = r"^((60|[1-5]?[0-9])s|(60000|[1-5]?[0-9]{1,4})ms|1m)$"
"""Sums such as `0m30s` are taken as well: no pattern says 'at most 60 s' of them."""
EXECUTION = Parameter(
    "id", "path", {"type": "string", "pattern": ID_PATTERN}, "Of the execution.", "run-1"
)
CONTEXT = Parameter(
    "id", "path", {"type": "string", "pattern": ID_PATTERN}, "Of the context.", "notebook"
)
WAIT = Parameter(
    "wait",
    "query",
    {"type": "string", "pattern": WAIT_PATTERN, "default": "0s"},
    "How long this call waits for the execution's end, which it does not influence: at most 60 s. "
    "The answer after that is the execution as it is then.",
    "20s",
)
MAX_OUTPUT = Parameter(
    "maxOutput",
    "query",
    COUNT,
    "Bytes of each stream that are shown, the last ones; absent: all that is kept.",
    65536,
)
ENCODING = Parameter(
    "encoding",
    "query",
    {"type": "string", "enum": [way.value for way in OutputEncoding], "default": "utf-8"},
    "How output is written into JSON: as text, where U+FFFD stands for what is not UTF-8, or as "
    "the bytes that it is.",
)
OPTIONS = (WAIT, MAX_OUTPUT, ENCODING)


def page_size(most: int, default: int) -> Parameter:
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return Parameter("limit", "query", schema, "Entries of one page.", 10)

"""What several of these tests use."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.runtime.box import Answer, Box

FILES, DIRECTORIES = "/v1/files/", "/v1/directories/"


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def open_descriptors() -> int:
    return len(names(Path("/proc/self/fd")))


def put(box: Box, path: str | bytes, content: bytes, query: str = "") -> dict[str, Any]:
    """Written; the FileInfo."""
    answer = box.exchange("PUT", FILES + quote(path) + query, raw=content)
    assert answer.status in (200, 201), answer
    info: dict[str, Any] = answer.json()
    assert info["size"] == len(content)
    return info


def get(box: Box, path: str | bytes, headers: Mapping[str, str] | None = None) -> Answer:
    return box.exchange("GET", FILES + quote(path), headers=headers)


def delete(box: Box, path: str | bytes, query: str = "") -> int:
    return box.exchange("DELETE", FILES + quote(path) + query).status


def refused(answer: Answer) -> tuple[int, str]:
    """Status and code of a problem."""
    assert answer.headers["Content-Type"] == "application/problem+json", answer
    problem = answer.json()
    assert problem["status"] == answer.status
    assert "\n" not in problem["detail"]
    return answer.status, problem["code"]


def listed(box: Box, path: str | bytes = "", limit: int = 1000) -> list[dict[str, Any]]:
    """All entries of a directory, page by page."""
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        query = f"?limit={limit}" + (f"&after={after}" if after else "")
        answer = box.exchange("GET", DIRECTORIES + quote(path) + query)
        assert answer.status == 200, answer
        page = answer.json()
        assert len(page["entries"]) <= limit
        found += page["entries"]
        if "next" not in page:
            return found
        after = page["next"]

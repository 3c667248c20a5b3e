"""Fault injection for the crash tests: die right after the n-th mutating request.

`PADDOCK_CRASH_AFTER_WRITE=n` ends the process with os._exit as soon as the n-th write has been
answered, before anything can be done with the answer: the worst moment for the next life.
"""

import os
from collections.abc import Mapping
from typing import Any

from paddock_operator.cluster.client import Api, Json

EXIT_CODE = 86
"""Tells a planned crash from any other end."""


class CrashingApi:
    """Passes requests on and counts the mutating ones, Events apart."""

    def __init__(self, api: Api, after: int) -> None:
        self._api = api
        self._left = after

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        """See Api."""
        answer = await self._api.request(
            method, path, query=query, body=body, content_type=content_type
        )
        if method != "GET" and not path.endswith("/events"):
            self._left -= 1
            if self._left == 0:
                os._exit(EXIT_CODE)
        return answer

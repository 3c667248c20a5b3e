"""The adapter to the API server: one request is one request, whatever comes back."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration

from paddock_operator.cluster.client import KubeApi
from paddock_operator.cluster.errors import Overloaded

BAD_DATE = "Fri, 01 Jan 2100 00:00:00 GMT"


@pytest.fixture
async def api(seen: Counter[str]) -> AsyncIterator[KubeApi]:
    async def refuse(request: web.Request) -> web.Response:
        seen[request.method] += 1
        return web.json_response({"kind": "Status"}, status=503, headers={"Date": BAD_DATE})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    server = TestServer(app)
    await server.start_server()
    configuration = Configuration()
    configuration.host = str(server.make_url("")).rstrip("/")
    made = KubeApi(configuration)
    yield made
    await made.close()
    await server.close()


@pytest.fixture
def seen() -> Counter[str]:
    return Counter()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_a_refused_request_is_not_sent_again(
    api: KubeApi, seen: Counter[str], method: str
) -> None:
    """The engine decides about retries: it knows who waits, and whether it still leads."""
    for _ in range(2):
        with pytest.raises(Overloaded):
            await api.request(method, "/api/v1/pods", body={})
    assert seen == {method: 2}
    assert api.clock.now().year < 2100, "a bad answer's Date is nobody's clock"

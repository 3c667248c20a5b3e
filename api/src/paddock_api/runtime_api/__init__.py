"""The runtime's HTTP API as data: every operation with what it takes, answers and refuses.

The OpenAPI document and the tables of docs/reference are made of it; a test holds it to the
routes that the runtime really has.
"""

from paddock_api.runtime_api import contexts, executions, files, refusals, sandbox
from paddock_api.runtime_api.shapes import Refusal

ROUTES = (*executions.ROUTES, *contexts.ROUTES, *files.ROUTES, *sandbox.ROUTES)
TAGS = {
    "Executions": executions.ROUTES,
    "Contexts": contexts.ROUTES,
    "Files": files.ROUTES,
    "Sandbox": sandbox.ROUTES,
}
REFUSALS = tuple(found for found in vars(refusals).values() if isinstance(found, Refusal))

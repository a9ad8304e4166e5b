"""FastAPI: the same call as JSON over HTTP/1.1, the token verified by PyJWT, the tenant compared."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Path
from pydantic import BaseModel

from benchmarks.peers.common import KEPT, serve
from benchmarks.tokens import Verifier

VERIFIER = Verifier()
Text = Annotated[str, Path(min_length=1, max_length=64)]


class Order(BaseModel):
    """As it is kept."""

    id: str
    tenant: str
    title: str


def claims(authorization: Annotated[str, Header()] = "") -> dict[str, Any]:
    """Return the claims of who calls."""
    try:
        return VERIFIER.verify(authorization)
    except ValueError as error:
        raise HTTPException(401, "who are you?") from error


application = FastAPI()


@application.get("/v1/tenants/{tenant}/orders/{id}")  # type: ignore[untyped-decorator]  # not installed here
async def get_order(tenant: Text, id: Text, caller: Annotated[dict[str, Any], Depends(claims)]) -> Order:  # noqa: A002
    """Return one."""
    if tenant not in caller["tenant"]:
        raise HTTPException(403, "not yours")
    if (title := KEPT.get((tenant, id))) is None:
        raise HTTPException(404, "there is none of that id")
    return Order(id=id, tenant=tenant, title=title)


def main() -> None:
    """Serve."""
    serve(application)

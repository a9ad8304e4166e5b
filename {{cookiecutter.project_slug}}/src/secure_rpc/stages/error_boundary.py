"""Below this line nothing gets out but a StatusError: those above know how the call ended, the log knows why."""

from __future__ import annotations

import asyncio
import logging

from secure_rpc import errors
from secure_rpc.call import Call, Method
from secure_rpc.chain import Middleware, Proceed

logger = logging.getLogger(__name__)


class ErrorBoundary:
    """Turn whatever a stage raises into INTERNAL; its text goes to the log alone."""

    def bind(self, method: Method) -> Middleware:
        """Guard every method."""

        async def guard(call: Call, proceed: Proceed) -> None:
            try:
                await proceed(call)
            except (errors.StatusError, asyncio.CancelledError):
                raise
            except Exception as error:
                logger.exception("a stage failed in %s, call %s", method.path or "an unknown method", call.id)
                raise errors.Internal(reason="INTERNAL") from error

        return guard

"""Below this line nothing gets out but a StatusError: those above know how the call ended, the log knows why."""

from __future__ import annotations

import logging

from secure_rpc import errors
from secure_rpc.call import Call, Method, Outcome
from secure_rpc.observing import NotedCall, Observer

logger = logging.getLogger(__name__)


class ErrorBoundary:
    """Turn whatever a stage raises into INTERNAL; its text goes to the log alone."""

    def bind(self, method: Method) -> Observer:
        """Guard every method."""

        def end(call: Call, _noted: NotedCall, outcome: Outcome) -> None:
            error = outcome.error
            if isinstance(error, Exception) and not isinstance(error, errors.StatusError):
                name = method.path or "an unknown method"
                logger.error("a stage failed in %s, call %s", name, call.id, exc_info=error)
                raise errors.Internal(reason="INTERNAL") from error

        return Observer(None, end)

"""A stage of one's own; docs/adding-a-stage.md explains it."""

from collections.abc import Callable
from datetime import UTC, datetime

from secure_rpc import errors
from secure_rpc.call import Call, Method
from secure_rpc.chain import Middleware, Proceed


def hour_now() -> int:
    """Return the hour of the day, UTC."""
    return datetime.now(UTC).hour


class BusinessHours:
    """Refuse calls of writing methods outside of business hours."""

    def __init__(self, first_hour: int, last_hour: int, hour: Callable[[], int] = hour_now) -> None:
        """Take what holds for every call; nothing of one call is ever kept on `self`."""
        self.first_hour = first_hour
        self.last_hour = last_hour
        self.hour = hour

    def bind(self, method: Method) -> Middleware | None:
        """Return what surrounds each call of a method, None where the method does not need the stage."""
        if not any(name.endswith(".write") for name in method.contract.permissions):
            return None  # this method does not need the stage, and pays nothing for it

        async def guard(call: Call, proceed: Proceed) -> None:
            if not self.first_hour <= self.hour() < self.last_hour:
                raise errors.FailedPrecondition("come back in business hours", reason="CLOSED")
            await proceed(call)  # returns when the call is over, whatever its kind

        return guard

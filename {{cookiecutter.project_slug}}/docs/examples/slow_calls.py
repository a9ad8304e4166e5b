"""A stage that only watches; docs/adding-a-stage.md explains it."""

from collections.abc import Callable

from secure_rpc.call import Call, Method, Outcome
from secure_rpc.observing import CallRecord, NotedCall, Observer


class SlowCalls:
    """Tell of unary calls that took long, refused ones included."""

    def __init__(self, seconds: float, tell: Callable[[CallRecord], None]) -> None:
        """Take what is long, and who is to be told."""
        self.seconds = seconds
        self.tell = tell

    def bind(self, method: Method) -> Observer | None:
        """Return what watches each call of a method."""
        if method.kind != "unary":
            return None

        def end(_call: Call, noted: NotedCall, _outcome: Outcome) -> None:
            record = CallRecord(*noted)
            if record.duration_seconds > self.seconds:
                self.tell(record)

        return Observer(None, end)  # of the beginning it wants to know nothing

"""What records are handed to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from secure_rpc.audit.trail import Line


class SinkUnavailable(Exception):
    """It could not take the records; they are to be sent again."""


class Sink(ABC):
    """Takes records. A record may come twice; chain and number tell that it is the same."""

    @abstractmethod
    def send(self, lines: Sequence[Line]) -> None:
        """Hand over records, in order.

        Raises:
            SinkUnavailable: the same are to be sent again.
        """

    @abstractmethod
    def close(self) -> None:
        """Close connections."""

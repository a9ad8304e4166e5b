"""Who asks how often, over the last seconds: refused calls count, too, for they are asked for all the same."""

from __future__ import annotations

MAX_PEERS = 4096  # that are remembered; those that come on top are not taken for ones that ask much
KEPT = 0.9  # of what was asked, each time it fades: at every tenth of a second, that is a memory of one second
FORGOTTEN = 0.5  # calls
MOST = 0.5  # of what the one asks that asks most often


class Asking:
    """Count what peers ask, and forget it as time goes by."""

    def __init__(self) -> None:
        self._asked: dict[str, float] = {}
        self._most = 0.0

    def __len__(self) -> int:
        """Return how many peers have asked lately."""
        return len(self._asked)

    def note(self, name: str) -> None:
        """Count one call of a peer."""
        asked = self._asked.get(name, 0.0) + 1.0
        if asked > 1.0 or len(self._asked) < MAX_PEERS:
            self._asked[name] = asked
            self._most = max(self._most, asked)

    def is_among_most(self, name: str) -> bool:
        """Tell whether a peer asks at least half as often as the one that asks most often."""
        return self._asked.get(name, 0.0) >= MOST * self._most

    def fade(self) -> None:
        """Forget a part of it."""
        faded = {name: asked * KEPT for name, asked in self._asked.items()}
        self._asked = {name: asked for name, asked in faded.items() if asked >= FORGOTTEN}
        self._most = max(self._asked.values(), default=0.0)

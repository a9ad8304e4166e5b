"""The numbers of a service that runs, and by how much they move."""

from __future__ import annotations

from support.target import Target

LEFT_OUT = ("_bucket", "_sum", "_created")


class Watched:
    """The numbers of a service, since they were last looked at.

    Args:
        target: the service.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        metrics = self._target.service.server.platform.metrics
        metrics.refresh()
        return {
            f"{each.name}{sorted(each.labels.values())}": each.value
            for family in metrics.registry.collect()
            for each in family.samples
            if not each.name.endswith(LEFT_OUT)
        }

    def moved(self, *names: str) -> dict[str, float]:
        """Return by how much the series of some metrics have moved; those that have not are left out."""
        before, self._before = self._before, self._now()
        return {
            name: value - before.get(name, 0)
            for name, value in self._before.items()
            if name.startswith(names) and value != before.get(name, 0)
        }

    def values(self, name: str) -> list[float]:
        """Return what the series of a metric are now."""
        return [value for series, value in self._now().items() if series.startswith(f"{name}[")]

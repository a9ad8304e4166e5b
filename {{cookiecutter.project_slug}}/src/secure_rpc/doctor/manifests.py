"""What deploy/ would have a cluster run: an overlay put together, as far as the doctor looks at it.

Strategic patches are merged by name, components and bases followed; JSON patches and replacements, which put names and
ports in place, are left out. `make manifests` shows the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from secure_rpc.configuration import ConfigurationError

FILE = "kustomization.yaml"
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
Manifest: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class Manifests:
    """What an overlay holds."""

    folder: Path
    objects: list[Manifest] = field(default_factory=list)
    images: dict[str, Mapping[str, str]] = field(default_factory=dict)  # what the overlay puts in place, by name

    def of_kind(self, kind: str) -> list[Manifest]:
        """Return the objects of a kind."""
        return [each for each in self.objects if each.get("kind") == kind]

    @property
    def pod(self) -> Manifest:
        """Return what the workload says of its pods, empty where there is none."""
        return next((_map(each, "spec", "template", "spec") for each in self._workloads), {})

    @property
    def container(self) -> Manifest:
        """Return the service's container, the first of the pod."""
        containers = self.pod.get("containers") or [{}]
        return dict(containers[0])

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables whose values stand in the manifests."""
        listed = self.container.get("env") or []
        return {each["name"]: str(each["value"]) for each in listed if "value" in each}

    @property
    def replicas(self) -> int:
        """Return how many pods there are at least."""
        scaled = [_map(each, "spec").get("minReplicas", 1) for each in self.of_kind("HorizontalPodAutoscaler")]
        fixed = [_map(each, "spec").get("replicas", 1) for each in self._workloads]
        return int((scaled or fixed or [1])[0])

    @property
    def _workloads(self) -> list[Manifest]:
        return [each for kind in WORKLOADS for each in self.of_kind(kind)]

    def volume_at(self, path: Path) -> Manifest:
        """Return the volume in which a file of the pod stands, empty where it is in none."""
        mounts = self.container.get("volumeMounts") or []
        found = [each for each in mounts if path.is_relative_to(each["mountPath"])]
        if not found:
            return {}
        name = max(found, key=lambda each: len(each["mountPath"]))["name"]
        return next((each for each in self.pod.get("volumes") or [] if each["name"] == name), {})


def load(folder: Path) -> Manifests:
    """Put an overlay together.

    Args:
        folder: it has a kustomization.yaml.

    Raises:
        ConfigurationError: a file cannot be read, or is no YAML.
    """
    manifests = Manifests(folder)
    _collect(folder, manifests, frozenset())
    return manifests


def _collect(folder: Path, into: Manifests, above: frozenset[Path]) -> None:
    if folder.resolve() in above:
        raise ConfigurationError(f"{folder / FILE}: includes itself; take it out of its resources")
    above |= {folder.resolve()}
    for content in _documents(folder / FILE):
        for name in [*(content.get("resources") or []), *(content.get("components") or [])]:
            if "://" not in name:  # else it is somebody else's, and not here
                _include(folder / name, into, above)
        for patch in content.get("patches") or []:
            _patch(into.objects, _parsed(folder / patch["path"]) if "path" in patch else _inline(patch))
        into.images.update({each["name"]: each for each in content.get("images") or []})


def _include(path: Path, into: Manifests, above: frozenset[Path]) -> None:
    if path.is_dir():
        _collect(path, into, above)
    else:
        into.objects += _documents(path)


def _inline(patch: Mapping[str, Any]) -> list[Any]:
    return list(yaml.safe_load_all(str(patch.get("patch", ""))))


def _patch(objects: list[Manifest], patches: Iterable[Any]) -> None:
    for patch in patches:
        if not isinstance(patch, dict):
            continue  # a list of operations
        for number, each in enumerate(objects):
            if each.get("kind") == patch.get("kind") and _name(each) == _name(patch):
                if patch.get("$patch") == "delete":
                    del objects[number]
                else:
                    objects[number] = _merged(each, patch)
                break


def _merged(below: Any, above: Any) -> Any:
    """Return a value with a patch over it: maps by key, lists of named things by name, all else replaced."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {key: _merged(below.get(key), above[key]) if key in above else below[key] for key in {**below, **above}}
    if _are_named(below) and _are_named(above):
        own = {each["name"]: each for each in above}
        kept = [_merged(each, own.pop(each["name"])) if each["name"] in own else each for each in below]
        return [*kept, *own.values()]
    return above


def _are_named(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) and "name" in each for each in value)


def _documents(path: Path) -> list[Manifest]:
    return [each for each in _parsed(path) if isinstance(each, dict)]


def _parsed(path: Path) -> list[Any]:
    try:
        return list(yaml.load_all(path.read_text(encoding="utf-8"), yaml.CSafeLoader))  # the safe one
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: not valid YAML: {error}") from None


def _map(value: Manifest, *keys: str) -> Manifest:
    for key in keys:
        value = value.get(key) or {}
    return value


def _name(value: Manifest) -> object:
    return _map(value, "metadata").get("name")


def walked(value: Any) -> Iterator[Any]:
    """Yield a value and all that it holds."""
    yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    for each in inner:
        yield from walked(each)

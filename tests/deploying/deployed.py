"""A service that was set up, what its overlays become, and what settings its pods would read: each made once."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from functools import cached_property
from typing import TYPE_CHECKING

import yaml

from tests.deploying import shapes
from tests.deploying.agreement import Manifests
from tests.deploying.tools import Json, answer, built, environment
from tools.bake import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PROGRAMS = ROOT / "tests" / "deploying"
OVERLAYS = ("dev", "prod", "istio", "istio-passthrough", "linkerd")
COMPONENTS = ("spiffe-csi", "edge-certificate")  # that no overlay has
ALL = (*OVERLAYS, *COMPONENTS)


class Deployed:
    """A service, and what its overlays become.

    Args:
        service: generated and set up.
        folder: an empty one, for the manifests as files.

    """

    def __init__(self, service: Path, folder: Path) -> None:
        self.service, self.folder = service, folder
        for component in COMPONENTS:
            overlay = service / "deploy" / "overlays" / component
            overlay.mkdir()
            kustomization = {
                "namespace": "order-service",
                "resources": ["../prod"],
                "components": [f"../../components/{component}"],
                "transformers": ["../../cluster-scoped"],
            }
            (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
        self.manifests: dict[str, list[Json]] = {name: built(service / "deploy" / "overlays" / name) for name in ALL}
        for name, documents in self.manifests.items():
            (folder / f"{name}.yaml").write_text(yaml.safe_dump_all(documents), encoding="utf-8")
        self._settings: dict[str, tuple[Json, dict[str, str]]] = {}

    def settings(self, name: str) -> tuple[Json, dict[str, str]]:
        """Return the settings that pods of an overlay have, and those that name files; a copy, to be changed."""
        if name not in self._settings:
            self._settings[name] = self._read(name)
        return copy.deepcopy(self._settings[name])

    def _read(self, name: str) -> tuple[Json, dict[str, str]]:
        """Have the service's own code read them."""
        manifests = Manifests(self.manifests[name])
        (volume,) = [each for each in manifests.pod["volumes"] if each["name"] == "settings"]
        config = self.folder / f"{name}-settings" / "settings.yaml"
        config.parent.mkdir()
        config.write_text(manifests.named("ConfigMap", volume["configMap"]["name"])["data"]["settings.yaml"], "utf-8")
        done = subprocess.run(
            [self.service / ".venv" / "bin" / "python", PROGRAMS / "settings.py", config],
            env={"PATH": os.environ["PATH"], **manifests.environment()},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        read = json.loads(done.stdout)
        return read["settings"], read["files"]

    @cached_property
    def documents(self) -> list[Json]:
        """Return each manifest of any overlay, the same ones once."""
        every = [document for documents in self.manifests.values() for document in documents]
        return list({json.dumps(document): document for document in every}.values())

    @cached_property
    def foreign(self) -> list[Json]:
        """Return a manifest of each kind, with a field that no schema knows."""
        first = {document["kind"]: document for documents in self.manifests.values() for document in documents}
        changed = copy.deepcopy(list(first.values()))
        for document in changed:
            document.get("spec", document)["unheardOf"] = 1
        return changed

    @cached_property
    def held(self) -> tuple[list[str | None], list[str | None]]:
        """Return what is wrong with each of `documents` and of `foreign`: none for a kind that nothing here knows."""
        documents = [*self.documents, *self.foreign]
        program = [environment("deploy") / "bin" / "python", PROGRAMS / "schemas.py"]
        by_schema = answer(list(program), documents)
        found = [
            shapes.problems(each) if said is None else said for each, said in zip(documents, by_schema, strict=True)
        ]
        return found[: len(self.documents)], found[len(self.documents) :]

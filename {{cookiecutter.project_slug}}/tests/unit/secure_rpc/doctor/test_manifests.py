"""What an overlay holds: bases, components and patches put together, as kustomize does."""

from __future__ import annotations

from pathlib import Path

import pytest

from secure_rpc.configuration import ConfigurationError
from secure_rpc.doctor.manifests import Manifests, load

BASE = {
    "base/kustomization.yaml": "resources: [all.yaml]\n",
    "base/all.yaml": """\
kind: Deployment
metadata: { name: x }
spec:
  replicas: 2
  template:
    spec:
      containers:
        - name: service
          image: x
          env: [{ name: A, value: "1" }, { name: B, valueFrom: {} }]
          volumeMounts: [{ name: logs, mountPath: /var/log }, { name: own, mountPath: /var/log/own }]
      volumes: [{ name: logs, emptyDir: {} }, { name: own, persistentVolumeClaim: {} }]
---
kind: Certificate
metadata: { name: server }
""",
    "part/kustomization.yaml": "kind: Component\npatches: [{ path: env.yaml }, { path: list.yaml, target: {} }]\n",
    "part/env.yaml": """\
kind: Deployment
metadata: { name: x }
spec: { template: { spec: { containers: [{ name: service, env: [{ name: C, value: 3 }] }] } } }
""",
    "part/list.yaml": "- { op: remove, path: /spec }\n",
    "over/kustomization.yaml": """\
resources: [../base, "https://example.org/remote"]
components: [../part]
patches:
  - patch: |
      kind: Certificate
      metadata: { name: server }
      $patch: delete
images: [{ name: x, newName: r/x }]
""",
}


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    for name, content in BASE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path / "over"


def test_bases_components_and_patches_come_together(overlay: Path) -> None:
    found = load(overlay)
    assert found.environment == {"A": "1", "C": "3"}
    assert found.container["image"] == "x"
    assert found.images["x"]["newName"] == "r/x"
    assert found.of_kind("Certificate") == []
    assert found.replicas == 2


def test_a_file_is_in_the_volume_that_is_mounted_nearest(overlay: Path) -> None:
    found = load(overlay)
    assert found.volume_at(Path("/var/log/own/audit.log")) == {"name": "own", "persistentVolumeClaim": {}}
    assert found.volume_at(Path("/var/log/audit.log")) == {"name": "logs", "emptyDir": {}}
    assert found.volume_at(Path("/elsewhere/audit.log")) == {}


def test_pods_of_other_workloads_are_looked_at_too(overlay: Path) -> None:
    for name in ("base/all.yaml", "part/env.yaml"):
        path = overlay.parent / name
        path.write_text(path.read_text(encoding="utf-8").replace("Deployment", "StatefulSet"), encoding="utf-8")
    assert load(overlay).environment == {"A": "1", "C": "3"}
    assert load(overlay).replicas == 2


def test_no_manifests_are_no_pods() -> None:
    none = Manifests(Path("none"))
    assert (none.pod, none.container, none.environment, none.replicas) == ({}, {}, {}, 1)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("base/all.yaml", None, "cannot be read"),
        ("base/all.yaml", "a: [", "not valid YAML"),
        ("base/kustomization.yaml", "resources: [../over]", "includes itself"),
    ],
)
def test_what_cannot_be_put_together_is_told(overlay: Path, name: str, content: str | None, said: str) -> None:
    path = overlay.parent / name
    if content is None:
        path.unlink()
    else:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=said):
        load(overlay)

"""The files that are built from `objectives.yaml`, always the same ones, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from secure_rpc.observability.cases import cases
from secure_rpc.observability.dashboards import dashboards
from secure_rpc.observability.objectives import FILE, Promises
from secure_rpc.observability.panels import rendered
from secure_rpc.observability.routing import routing
from secure_rpc.observability.rules import rules

RULES, CASES, ROUTING, OPERATED = "rules.yaml", "rules_test.yaml", "alertmanager.yaml", "prometheus-rule.yaml"
HEADER = f"# Built from {FILE} by `make observability`; changes belong there.\n"
UNFOLDED = 1_000_000  # lines end where their text does, whatever the service is called


def built(promises: Promises) -> dict[Path, str]:
    """Return all files, by their place in the folder.

    Args:
        promises: of the service.
    """
    found = {
        Path(RULES): _yaml(rules(promises)),
        Path(CASES): _yaml(cases(promises, RULES)),
        Path(ROUTING): _yaml(routing(promises)),
        Path(OPERATED): _yaml(operated(promises)),
    }
    all_of_them = dashboards(promises)
    for each in all_of_them:
        content = json.dumps(rendered(each, all_of_them, promises.job), indent=2, ensure_ascii=False)
        found[Path("dashboards") / f"{each.uid.removeprefix('secure-rpc-')}.json"] = content + "\n"
    return found


def operated(promises: Promises) -> dict[str, object]:
    """Return the rules as the Prometheus operator takes them.

    Args:
        promises: of the service.
    """
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": promises.job},
        "spec": rules(promises),
    }


def write(promises: Promises, folder: Path) -> list[Path]:
    """Write the files, and return those that have changed.

    Args:
        promises: of the service.
        folder: where they go.
    """
    changed = []
    for name, content in built(promises).items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
            changed.append(path)
    return changed


def stale(promises: Promises, folder: Path) -> list[Path]:
    """Return the files that are not as they would be built now."""
    return [
        folder / name
        for name, content in built(promises).items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != content
    ]


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they read."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


def _yaml(content: object) -> str:
    return HEADER + yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=UNFOLDED, allow_unicode=True)


_Dumper.add_representer(str, _text)

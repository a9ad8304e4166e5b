"""Build the observability files of the template: as a service builds them, with the names left to the generator."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INNER = ROOT / "{{cookiecutter.project_slug}}"
FOLDER = INNER / "observability"
sys.path.insert(0, str(INNER / "src"))

from secure_rpc.observability.building import built  # noqa: E402  # it stands in the template
from secure_rpc.observability.objectives import FILE, Promises, load  # noqa: E402

EXPRESSION = re.compile(r"\{\{.*?\}\}")
BRACES = re.compile(r"\{\{|\}\}|\{%|%\}|\{#|#\}")


def main() -> None:
    """Write the files."""
    text = (FOLDER / FILE).read_text(encoding="utf-8")
    names = list(dict.fromkeys(EXPRESSION.findall(text)))
    stand_ins = {f"name-{number}-of-it": name for number, name in enumerate(names)}
    for stand_in, name in stand_ins.items():
        text = text.replace(name, stand_in)
    for path, content in built(_read(text)).items():
        escaped = BRACES.sub(lambda found: f"{{{{ '{found[0]}' }}}}", content)
        for stand_in, name in stand_ins.items():
            escaped = escaped.replace(stand_in, name)
        target = FOLDER / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(escaped, encoding="utf-8")


def _read(text: str) -> Promises:
    scratch = ROOT / "build" / FILE
    scratch.parent.mkdir(exist_ok=True)
    scratch.write_text(text, encoding="utf-8")
    return load(scratch)


if __name__ == "__main__":
    main()

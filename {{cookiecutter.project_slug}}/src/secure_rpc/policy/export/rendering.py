"""Exported rules as a file: YAML, and above it in comments what they do not say."""

from __future__ import annotations

import textwrap

import yaml

from secure_rpc.policy.export.common import Access, Export

LINE_CHARACTERS = 118  # without the "# "


def render(export: Export, access: Access, origin: str) -> str:
    """Return the text of a file.

    Args:
        export: the rules.
        access: what they were made from.
        origin: where they come from, such as "policy/policy.yaml (version 0123456789ab)".
    """
    lines = [f"Made from {origin} by `policy export`: change that, and export again.", ""]
    lines += ["The service decides for good. These rules stand before it, and let more through, since they do not say:"]
    for item in export.inexpressible:
        lines += textwrap.wrap(
            str(item), LINE_CHARACTERS, initial_indent="- ", subsequent_indent="  ", break_long_words=False
        )
    if access.closed:
        lines += [
            "",
            "Nobody may call, as no binding gives what they ask for:",
            *(f"- {path}" for path in access.closed),
        ]
    header = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    body = yaml.dump_all(export.documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
    return f"{header}---\n{body}"


class _Dumper(yaml.SafeDumper):
    """Writes out what stands in a document twice: not every reader of the result knows anchors."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  # yaml's hook
        return True

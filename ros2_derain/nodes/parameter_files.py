"""The files that list all parameters::

python -m ros2_derain.nodes.parameter_files --yaml > config/pipeline.yaml
python -m ros2_derain.nodes.parameter_files --markdown > docs/parameters.md
"""

from __future__ import annotations

import argparse
from dataclasses import Field, fields
from typing import Any

from ros2_derain.nodes.parameters import NODES


def to_yaml() -> str:
    """The text of config/pipeline.yaml: every parameter with its default."""
    lines = [
        "# Parameters of the pipeline with their defaults, for any namespace.",
        "# Written by: python -m ros2_derain.nodes.parameter_files --yaml",
    ]
    for node, kind in NODES.items():
        lines += ["", f"/**/{node}:", "  ros__parameters:"]
        for item in fields(kind):
            notes = [item.metadata["description"]]
            notes += [f"Range: {_range_text(item)}."] if item.metadata["range"] else []
            notes += [] if item.metadata["live"] else ["Read at configure."]
            lines += [f"    # {' '.join(notes)}", f"    {item.name}: {_yaml_value(item)}"]
    return "\n".join(lines) + "\n"


def to_markdown() -> str:
    """The text of docs/parameters.md: a table for each node."""
    lines = [
        "# Parameters",
        "",
        "[config/pipeline.yaml](../config/pipeline.yaml) has all of them with their defaults. Those that",
        "change *live* can be set while the node runs; the others are read at configure.",
        "",
        "This page is generated:",
        "`python -m ros2_derain.nodes.parameter_files --markdown > docs/parameters.md`",
        "",
    ]
    for node, kind in NODES.items():
        lines += [f"## {node}", "", "| parameter | default | range | changes | meaning |"]
        lines += ["|---|---|---|---|---|"]
        for item in fields(kind):
            changes = "live" if item.metadata["live"] else "at configure"
            lines.append(
                f"| `{item.name}` | `{_yaml_value(item)}` | {_range_text(item)} "
                f"| {changes} | {item.metadata['description']} |"
            )
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"


def _range_text(item: Field) -> str:
    if item.metadata["range"]:
        low, high = item.metadata["range"]
        return f"{low:g} .. {high:g}" if high < 1e6 else f"{low} .. {high}"
    return ", ".join(item.metadata["choices"])


def _yaml_value(item: Field[Any]) -> str:
    value = item.default
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if value == "" or (isinstance(value, str) and "," in value) else str(value)


def main(argv: list[str] | None = None) -> None:
    """Print the parameters in one of the two forms."""
    parser = argparse.ArgumentParser(prog="python -m ros2_derain.nodes.parameter_files")
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument("--yaml", action="store_true", help="print config/pipeline.yaml")
    form.add_argument("--markdown", action="store_true", help="print docs/parameters.md")
    print(to_yaml() if parser.parse_args(argv).yaml else to_markdown(), end="")


if __name__ == "__main__":
    main()

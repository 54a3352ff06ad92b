"""The documentation of a run's records for docs/files.md, from the comments of rpecli/run/records.py.

The comment behind a field, with the comment lines below it, says what its key means, the docstring of a class what the record is.
"""

import ast
import io
import re
import tokenize
from functools import cache
from typing import NamedTuple

from rpecli.escape import Markdown
from rpecli.run import files, records
from rpecli.table import Table

ALWAYS = "yes"
ENTIRE = ("RunRecord", "MetricsLine", "EvalLine", "AttentionLine", "SimilarityLine", "ShiftLine")  # records with a checksum
SECTIONS: dict[str, dict[str, str]] = {  # by generator: the title of a record, and its class
    "run_record": {
        "run.json": "RunRecord", "sources": "Sources", "steps_to_accuracy": "StepsToAccuracy", "checkpoint": "ChosenCheckpoint",
        "lr_search": "LrSearch", "tried of lr_search": "LrTrials",
    },
    "metrics_record": {"metrics.jsonl": "MetricsLine"},
    "eval_record": {"eval.jsonl": "EvalLine", "example": "Example", "grid": "GridCell"},
    "attention_record": {
        "attention": "AttentionLine", "lengths": "LengthAttention", "layers of lengths": "HeadAttention",
        "scores of lengths": "HeadFit", "terms of lengths": "HeadTerms", "patterned_heads": "PatternedHead",
        "attention_map": "AttentionMap",
    },
    "similarity_record": {"similarity": "SimilarityLine", "other": "RunIdentity", "layers of similarity": "LayerSimilarity"},
    "shift_record": {"positions, prefix": "ShiftLine"},
}  # fmt: skip


class Field(NamedTuple):
    """A key of a record: what it means, and whether every record has it."""

    meaning: str
    always: bool


class Documented(NamedTuple):
    """A class of records.py: its docstring, the classes that it derives from, and its own fields."""

    about: str
    bases: list[str]
    fields: dict[str, Field]


@cache
def classes() -> dict[str, Documented]:
    """Every class of rpecli/run/records.py."""
    with open(records.__file__, encoding="utf-8") as file:
        source = file.read()
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type == tokenize.COMMENT]
    behind, alone = (
        {token.start[0]: token.string.lstrip("# ") for token in tokens if token.line.lstrip().startswith("#") is by_itself}
        for by_itself in (False, True)
    )
    return {node.name: _documented(node, behind, alone) for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}


def _documented(node: ast.ClassDef, behind: dict[int, str], alone: dict[int, str]) -> Documented:
    """A class with the comments behind its fields, by line, and those that have a line of their own."""
    fields = {}
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            line = item.end_lineno or item.lineno
            texts = [behind.get(line, "")]
            while (line := line + 1) in alone:
                texts.append(alone[line])
            always = not ast.unparse(item.annotation).startswith("NotRequired")
            fields[item.target.id] = Field(" ".join(texts).strip(), always)
    bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
    return Documented(ast.get_docstring(node) or "", bases, fields)


def fields_of(name: str) -> dict[str, Field]:
    """The fields of a record: its own, and those of the classes that it derives from."""
    known = classes()[name] if name in classes() else Documented("", [], {})
    return {key: field for base in known.bases for key, field in fields_of(base).items()} | known.fields


def documentation(generator: str) -> str:
    """The records of one generator, a table each."""
    return "\n\n".join(_section(title, name) for title, name in SECTIONS[generator].items())


def _section(title: str, name: str) -> str:
    fields = fields_of(name)
    if name in ENTIRE:
        fields["checksum"] = Field("of the text before it: a record that changed is refused", True)
    partly = not all(field.always for field in fields.values())
    head = ["key", *(["in every one"] if partly else []), "meaning"]
    rows = [
        [f"`{key}`", *([ALWAYS if field.always else ""] if partly else []), _json(field.meaning)] for key, field in fields.items()
    ]
    cells: list[list[str]] = [[Markdown(cell) for cell in row] for row in rows]
    written = Table("", head, "l" * len(head), cells).markdown(padded=False)
    return f"**{title}**: {_json(' '.join(classes()[name].about.split()))}\n\n{written}"


def _json(text: str) -> str:
    """Words about Python as words about JSON."""
    text = text.replace("EXAMPLE_WORDS", str(records.EXAMPLE_WORDS)).replace("RECORD_FORMAT", str(files.RECORD_FORMAT))
    return re.sub(r"\bNone\b", "null", text)

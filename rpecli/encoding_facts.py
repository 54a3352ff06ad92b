"""The facts of an encoding that its file states (formula, paper, hooks, kernel, options), read without importing the file."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from rpecli import catalog
from rpecli.attention import kernels

CONTRACT = catalog.PACKAGE / "encoding.py"  # defines the classes that every encoding derives from
HOOKS = {
    "embed": "embedding: adds to the token embeddings once, before the first layer",
    "relocate": "positions: gives the tokens other positions in the scores",
    "features": "features: computes learned features of every token in every layer, cached with its key",
    "rotate": "query and key: rotates, widens or scales them",
    "by_distance": "score: adds a bias that depends only on the distance",
    "bias": "score: adds a bias that depends on the two positions, not on the content",
    "query_weights": "score: adds a curve over the distance that the content of the query selects",
    "score": "score: replaces the scores by a function of them and of the content",
}
NO_HOOK = "nowhere: only the causal mask carries order"
PARAMETERS = {"Parameter", "ParameterList", "Linear", "Bilinear", "Embedding", "Conv1d", "Conv2d", "LayerNorm", "RMSNorm"}
PAPER = re.compile(r"(?P<title>.*), (?P<year>\d{4})(?:,? (?P<source>.*))?")
Learns = Literal["yes", "option", "no"]


@dataclass(frozen=True)
class EncodingFacts:
    """What one encoding's file states; what the file inherits from its base classes is included."""

    name: str
    summary: str
    about: str  # the rest of the docstring: formula, choices, behaviour beyond the training length
    group: str
    title: str  # of the paper
    year: str
    source: str  # arXiv id, or where else the paper is
    extrapolation: str
    shift_invariant: bool
    shared: bool
    causal_only: bool
    hooks: list[str]
    kernel: str
    learns: Learns  # "option" if it has parameters only with some option
    options: dict[str, Any]

    @property
    def acts_on(self) -> list[str]:
        """Where the encoding acts, one sentence per hook."""
        return acts_on(self.hooks)

    @property
    def paper(self) -> str:
        """Title and source of the paper, without the year."""
        comma = "," if self.source and not self.source.startswith("(") else ""
        return f"{self.title}{comma} {self.source}".strip()


def acts_on(hooks: list[str]) -> list[str]:
    """Where these hooks act, one sentence per hook."""
    return [HOOKS[hook] for hook in hooks] or [NO_HOOK]


def read(name: str) -> EncodingFacts:
    """The facts of a shipped encoding, or of a file given by its path. Raises ChoiceError if there is none."""
    path = catalog.find("encodings", name)
    file = SourceFile(path)
    classes = file.encoding_classes()
    nodes = [definition.node for definition in classes]
    bases = {node.name for node in nodes}
    hooks = [hook for hook in HOOKS if any(own.method(hook) for own in classes if own.file.path != CONTRACT)]
    docstring = ast.get_docstring(file.tree) or ""
    paper: dict[str, Any] = split_paper(_constant(nodes, "paper") or "")
    return EncodingFacts(
        name=catalog.name_of(path), summary=catalog.summary(path), about=docstring.partition("\n")[2].strip(), hooks=hooks,
        kernel=kernels.choose(score="score" in hooks, curve="DistanceCurve" in bases, distance="DistanceBias" in bases,
                              bias="bias" in hooks),
        learns=file.learns(), options=_options(classes),
        **{key: _constant(nodes, key) for key in ("group", "extrapolation", "shift_invariant", "shared", "causal_only")},
        **paper,
    )  # fmt: skip


def split_paper(text: str) -> dict[str, str]:
    """`Title, 2021, arXiv 2108.12409` as title, year and source; text of another form is a title."""
    match = PAPER.fullmatch(text)
    groups = match.groupdict(default="") if match else {"title": text}
    return {"title": "", "year": "", "source": ""} | groups


def _constant(nodes: list[ast.ClassDef], name: str) -> Any:
    """The literal that the first of these classes to assign `name` assigns to it; None if none does."""
    for line in (line for node in nodes for line in node.body):
        target = line.targets[0] if isinstance(line, ast.Assign) else line.target if isinstance(line, ast.AnnAssign) else None
        if isinstance(line, ast.Assign | ast.AnnAssign) and line.value and isinstance(target, ast.Name) and target.id == name:
            return ast.literal_eval(line.value)
    return None


def _options(classes: list["ClassDefinition"]) -> dict[str, Any]:
    """The keyword-only parameters of the nearest `__init__`, with their defaults."""
    init = next(filter(None, (definition.method("__init__") for definition in classes)), None)
    if init is None:
        return {}
    pairs = zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
    return {argument.arg: None if default is None else _literal(default) for argument, default in pairs}


def _literal(node: ast.expr) -> Any:
    """The value of a literal, the source of any other expression."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return ast.unparse(node)


@dataclass(frozen=True)
class ClassDefinition:
    """A class and the file that defines it."""

    file: "SourceFile"
    node: ast.ClassDef

    def method(self, name: str) -> ast.FunctionDef | None:
        return next((line for line in self.node.body if isinstance(line, ast.FunctionDef) and line.name == name), None)


class SourceFile:
    """The syntax tree of a file: the names that it defines, and those that it imports from other files of this package."""

    def __init__(self, path: Path):
        self.path, self.tree = path, ast.parse(path.read_bytes(), str(path))
        self.defined = {node.name: node for node in self.tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}

    @cached_property
    def imported(self) -> dict[str, tuple[Path, str]]:
        """Name here -> the file that it comes from, and its name there (the file's own name for a module)."""
        return dict(self._imports())

    def _imports(self) -> Iterator[tuple[str, tuple[Path, str]]]:
        for node in self.tree.body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == catalog.PACKAGE.name:
                origin = catalog.PACKAGE.joinpath(*str(node.module).split(".")[1:])
                for alias in node.names:
                    module = origin / f"{alias.name}.py"  # `from rpecli.encodings import rope`, then `rope.RoPE`
                    yield alias.asname or alias.name, (module if module.is_file() else origin.with_suffix(".py"), alias.name)

    def encoding_classes(self) -> list[ClassDefinition]:
        """The class that is the encoding, followed by its base classes up to Encoding."""
        for name, node in self.defined.items():
            if isinstance(node, ast.ClassDef) and not name.startswith("_"):
                classes = self._with_bases(node)
                if any(definition.file.path == CONTRACT for definition in classes):
                    return classes
        return []

    def _with_bases(self, node: ast.ClassDef) -> list[ClassDefinition]:
        classes = [ClassDefinition(self, node)]
        for base in node.bases:
            file, name = self._origin(base)
            definition = file.defined.get(name) if file else None
            if file and isinstance(definition, ast.ClassDef):
                classes += file._with_bases(definition)
        return classes

    def _origin(self, base: ast.expr) -> tuple["SourceFile | None", str]:
        """The file that defines a base class, and the name of the class in that file."""
        first = base.value if isinstance(base, ast.Attribute) else base
        name = getattr(first, "id", "")
        if name in self.defined:
            return self, name
        if name not in self.imported:
            return None, name
        path, original = self.imported[name]
        return SourceFile(path), base.attr if isinstance(base, ast.Attribute) else original

    def learns(self) -> Learns:
        """Whether the file, or what it imports from other files than the contract, creates parameters."""
        return _strongest([_creates_parameters(self.tree), *self._imports_learn(set(self.imported))])

    def _imports_learn(self, names: set[str]) -> list[Learns]:
        origins = [self.imported[name] for name in names]
        return [SourceFile(path)._definition_learns(name) for path, name in origins if path != CONTRACT and path.is_file()]

    def _definition_learns(self, name: str) -> Learns:
        """The same for one class or function of the file and for what it uses; `name` may be the whole module."""
        node = self.defined.get(name)
        if node is None:
            return self.learns() if self.path.stem == name else "no"
        names = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)} - {name}
        here = map(self._definition_learns, names & set(self.defined))
        return _strongest([_creates_parameters(node), *here, *self._imports_learn(names & set(self.imported))])


def _strongest(answers: list[Learns]) -> Learns:
    return "yes" if "yes" in answers else "option" if "option" in answers else "no"


def _creates_parameters(node: ast.AST) -> Learns:
    """`option` if every parameter is created under a condition."""
    if getattr(node, "attr", getattr(node, "id", None)) in PARAMETERS:
        return "yes"
    answer = _strongest([_creates_parameters(child) for child in ast.iter_child_nodes(node)])
    return "option" if answer == "yes" and isinstance(node, ast.If | ast.IfExp) else answer

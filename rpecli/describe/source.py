"""What an encoding's file says of itself: formula, paper, hooks, kernel, options, learned or not; read without importing it."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rpecli import catalog

CONTRACT = catalog.PACKAGE / "encoding.py"  # the classes every encoding derives from
HOOKS = {
    "embed": "embedding: adds to the token embeddings once, before the first layer",
    "features": "features: learned of every token in every layer, cached beside its key",
    "rotate": "query and key: turns, widens or shrinks them",
    "by_distance": "score: a bias that depends on the distance alone",
    "bias": "score: a bias that depends on the two positions, not on the content",
    "asks": "score: a curve over the distance that the query's content chooses",
    "score": "score: makes other scores of the scores, with the content in view",
}
NOWHERE = "nowhere: only the causal mask tells order"
COST = {
    "plain": "fused attention without a bias; memory grows with n, as with no encoding",
    "distance": "one vector of biases a head, read as a view by blocks of queries; evaluation needs memory that grows with n, "
    "training a bias of n x n",
    "curve": "scores of a block of queries with every distance, each row read at its own offset; evaluation needs memory for a "
    "block x n, training for all scores, or for the wider queries and keys",
    "rows": "rows of the bias, a block of queries at a time; evaluation needs memory for a block x n, training a bias of n x n",
    "eager": "scores of a block of queries at a time, no fused kernel, so the slowest; evaluation needs memory for a block x n, "
    "training for all scores, n x n",
}
LEARNED = {"Parameter", "ParameterList", "Linear", "Bilinear", "Embedding", "Conv1d", "Conv2d", "LayerNorm", "RMSNorm"}
PAPER = re.compile(r"(?P<title>.*), (?P<year>\d{4})(?:,? (?P<source>.*))?")


@dataclass(frozen=True)
class Anatomy:
    """The facts of one encoding's file, those of its base classes filled in."""

    name: str
    summary: str
    about: str  # the rest of the docstring: formula, choices, what happens past the trained length
    group: str
    title: str  # of the paper
    year: str
    source: str  # arXiv id or where else it is found
    unseen: str
    shift_invariant: bool
    shared: bool
    causal_only: bool
    hooks: list[str]
    kernel: str
    learns: str  # yes, no, or option where it takes an option to learn anything
    options: dict[str, Any]

    @property
    def acts(self) -> list[str]:
        """Where it acts, a sentence a hook."""
        return [HOOKS[hook] for hook in self.hooks] or [NOWHERE]

    @property
    def paper(self) -> str:
        """Title and where to find it; the year stands apart."""
        return " ".join(filter(None, (self.title + "," * bool(self.source and self.source[0] != "("), self.source)))


def of(name: str) -> Anatomy:
    """The anatomy of a shipped encoding, or of a file by its path. Raises ChoiceError as `content.find` does."""
    path = catalog.find("encodings", name)
    summary, module = catalog.summary(path), _Module(path)
    lines = module.lineage()
    hooks = [hook for hook in HOOKS if any(_method(each.node, hook) for each in lines if each.module.path != CONTRACT)]
    bases = {each.node.name for each in lines}
    kernel = next(name for name, there in _served(bases, hooks).items() if there)
    found: dict[str, Any] = {
        key: _attribute(lines, key) for key in ("group", "unseen", "shift_invariant", "shared", "causal_only")
    }
    doc = ast.get_docstring(module.tree) or ""
    return Anatomy(
        name=catalog.name_of(path), summary=summary, about=doc.partition("\n")[2].strip(), hooks=hooks, kernel=kernel,
        learns=module.learns(), options=_options(lines), **found, **paper(_attribute(lines, "paper") or ""),
    )  # fmt: skip


def _served(bases: set[str], hooks: list[str]) -> dict[str, bool]:
    """The kernels, first choice first, and whether they serve an encoding of these bases and hooks."""
    return {"eager": "score" in hooks, "curve": "DistanceCurve" in bases, "distance": "DistanceBias" in bases,
            "rows": "bias" in hooks, "plain": True}  # fmt: skip


def paper(text: str) -> dict[str, Any]:
    """`title, year, arXiv id` in three; a text of another form is a title."""
    match = PAPER.fullmatch(text)
    return {key: value or "" for key, value in match.groupdict().items()} if match else {"title": text, "year": "", "source": ""}


def _attribute(lines: list["_Class"], name: str) -> Any:
    """The literal that the nearest class assigns to `name`."""
    for each in lines:
        for line in each.node.body:
            targets = line.targets if isinstance(line, ast.Assign) else [line.target] if isinstance(line, ast.AnnAssign) else []
            if isinstance(line, ast.Assign | ast.AnnAssign) and line.value and getattr(targets[0], "id", None) == name:
                return ast.literal_eval(line.value)
    return None


def _method(node: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    return next((line for line in node.body if isinstance(line, ast.FunctionDef) and line.name == name), None)


def _options(lines: list["_Class"]) -> dict[str, Any]:
    """The keyword-only parameters of the nearest `__init__`, with their defaults."""
    init = next(filter(None, (_method(each.node, "__init__") for each in lines)), None)
    if init is None:
        return {}
    pairs = zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
    return {argument.arg: None if default is None else _literal(default) for argument, default in pairs}


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return ast.unparse(node)


@dataclass(frozen=True)
class _Class:
    module: "_Module"
    node: ast.ClassDef


class _Module:
    """A file's syntax tree, with the names it defines and those it takes from other files of this package."""

    def __init__(self, path: Path):
        self.path, self.tree = path, ast.parse(path.read_bytes(), str(path))
        self.defined = {node.name: node for node in self.tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
        self.imported = dict(self._imported())

    def _imported(self) -> Any:
        for node in self.tree.body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == catalog.PACKAGE.name:
                home = catalog.PACKAGE.joinpath(*str(node.module).split(".")[1:])
                for alias in node.names:
                    inner = home / f"{alias.name}.py"  # `from rpecli import rotary`, then `rotary.Rotary`
                    yield alias.asname or alias.name, (inner if inner.is_file() else home.with_suffix(".py"), alias.name)

    def lineage(self) -> list[_Class]:
        """The class that is the encoding, then its bases up to Encoding."""
        public = [node for name, node in self.defined.items() if isinstance(node, ast.ClassDef) and name[0] != "_"]
        found = [self._bases(node) for node in public]
        return next((lines for lines in found if any(each.module.path == CONTRACT for each in lines)), [])

    def _bases(self, node: ast.ClassDef) -> list[_Class]:
        lines = [_Class(self, node)]
        for base in node.bases:
            home, name = self._home(base)
            target = home.defined.get(name) if home else None
            if home and isinstance(target, ast.ClassDef):
                lines += home._bases(target)
        return lines

    def _home(self, base: ast.expr) -> tuple["_Module | None", str]:
        """The file that defines a base class, and the class's name there."""
        first = base.value if isinstance(base, ast.Attribute) else base
        name = getattr(first, "id", "")
        if name in self.defined:
            return self, name
        if name not in self.imported:
            return None, name
        path, original = self.imported[name]
        return _Module(path), base.attr if isinstance(base, ast.Attribute) else original

    def learns(self) -> str:
        """Whether the file, or what it takes from others beside the contract, makes parameters."""
        found = {_makes_parameters(self.tree)}
        for path, name in self.imported.values():
            if path != CONTRACT and path.is_file():
                found.add(_Module(path)._learned_by(name))
        return _most(found)

    def _learned_by(self, name: str) -> str:
        node = self.defined.get(name)
        if node is None:  # a whole module, or a constant of it
            return self.learns() if self.path.stem == name else "no"
        used = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} & set(self.defined) - {name}
        return _most({_makes_parameters(node), *map(self._learned_by, used)})


def _most(found: set[str]) -> str:
    return next(word for word in ("yes", "option", "no") if word in found)


def _makes_parameters(node: ast.AST) -> str:
    """`option` where all of them stand under a condition."""
    if getattr(node, "attr", getattr(node, "id", None)) in LEARNED:
        return "yes"
    found = _most({"no", *map(_makes_parameters, ast.iter_child_nodes(node))})
    return "option" if found == "yes" and isinstance(node, ast.If | ast.IfExp) else found

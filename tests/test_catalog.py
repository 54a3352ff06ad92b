"""The catalog: discovery by walking folders, reading without importing, loading, and the spelling of choices."""

import importlib.machinery
import sys
from pathlib import Path

import pytest

from rpecli import catalog
from rpecli.choice import ChoiceError, canonical, parse_choice


class Thing:
    """The parent class of the files in these tests; they import it as `things.Thing`."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty folders of encodings, tasks and recipes instead of the shipped ones."""
    for kind in catalog.SUFFIX:
        (tmp_path / kind).mkdir()
    monkeypatch.setattr(catalog, "folder", lambda kind: tmp_path / kind)
    monkeypatch.setitem(sys.modules, "things", sys.modules[__name__])
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def error_of(call: object, *arguments: object) -> str:
    """The message of the ChoiceError that a call raises."""
    with pytest.raises(ChoiceError) as caught:
        call(*arguments)  # type: ignore[operator]
    return str(caught.value)


def test_a_new_file_is_found_and_named_with_hyphens(home: Path) -> None:
    write(home / "encodings/my_own.py", "")
    write(home / "encodings/b.py", "")
    write(home / "encodings/notes.txt", "")
    assert catalog.names("encodings") == ["b", "my-own"]


def test_hyphens_and_underscores_are_one_spelling(home: Path) -> None:
    path = write(home / "encodings/my_own-thing.py", "")
    for name in ("my-own-thing", "my_own_thing", "my_own-thing"):
        assert catalog.find("encodings", name) == path


def test_recipes_in_subfolders_are_found_by_their_path(home: Path) -> None:
    path = write(home / "recipes/old_papers/first_table.yaml", "")
    assert catalog.names("recipes") == ["old-papers/first-table"]
    assert catalog.find("recipes", "old-papers/first-table") == path
    assert catalog.find("recipes", "old_papers/first_table") == path


def test_every_listed_name_is_found() -> None:
    for kind in catalog.SUFFIX:
        for name in catalog.names(kind):
            assert catalog.find(kind, name).is_file()


def test_private_and_hidden_files_are_not_listed(home: Path) -> None:
    for name in ("_draft.py", "._copy.py", ".checkpoints/copy.py", "__pycache__/copy.py"):
        write(home / "tasks" / name, "")
    assert catalog.names("tasks") == []


def test_two_files_of_one_name_are_an_error_that_names_both(home: Path) -> None:
    write(home / "tasks/a_b.py", "")
    write(home / "tasks/a-b.py", "")
    message = error_of(catalog.names, "tasks")
    assert "a_b.py" in message
    assert "a-b.py" in message
    assert "rename one" in message


def test_a_name_cannot_leave_its_folder(home: Path) -> None:
    write(home / "recipes/secret.yaml", "")
    write(home / "tasks/x.py", "")
    assert "unknown task" in error_of(catalog.find, "tasks", "../tasks/x")
    assert "unknown encoding" in error_of(catalog.find, "encodings", str(home / "tasks/x"))


def test_an_unknown_name_gets_the_closest_names(home: Path) -> None:
    for name in ("rope", "alibi", "shaw"):
        write(home / f"encodings/{name}.py", "")
    assert error_of(catalog.find, "encodings", "rop") == "unknown encoding 'rop': did you mean rope?  (rpe ls encodings)"
    assert "did you mean rope?" in error_of(catalog.find, "encodings", "RoPE")
    assert "known: alibi, rope, shaw" in error_of(catalog.find, "encodings", "zzzz")
    assert "unknown encoding ''" in error_of(catalog.find, "encodings", "")


def test_a_file_of_the_users_own_is_found_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "my things/mine.py", "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for spelling in ("my things/mine.py", "./my things/mine.py", str(path), "~/my things/mine.py"):
        assert catalog.find("encodings", spelling) == path.resolve()


@pytest.mark.parametrize(
    ("kind", "name"), [("tasks", "gone.py"), ("tasks", "here.yaml"), ("recipes", "here.py"), ("tasks", "dir.py")]
)
def test_a_path_that_is_no_file_of_the_kind_says_which_kind(kind: str, name: str, tmp_path: Path) -> None:
    write(tmp_path / "here.yaml", "")
    write(tmp_path / "here.py", "")
    (tmp_path / "dir.py").mkdir()
    message = error_of(catalog.find, kind, str(tmp_path / name))
    assert str(tmp_path / name) in message
    assert f"no {catalog.SUFFIX[kind]} file" in message


def test_an_unknown_home_is_no_crash() -> None:
    assert "no .py file" in error_of(catalog.find, "tasks", "~nobody-of-this-name/x.py")


def test_a_checkout_keeps_tasks_beside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "rpecli"
    (package / "encodings").mkdir(parents=True)
    monkeypatch.setattr(catalog, "PACKAGE", package)
    assert catalog.folder("encodings") == package / "encodings"
    assert catalog.folder("tasks") == tmp_path / "tasks"
    assert catalog.names("recipes") == []


def test_an_installed_package_keeps_tasks_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "rpecli"
    write(package / "tasks/copy.py", "")
    write(tmp_path / "tasks/foreign.py", "")
    monkeypatch.setattr(catalog, "PACKAGE", package)
    assert catalog.names("tasks") == ["copy"]


def test_a_file_that_raises_is_listed_with_its_summary(home: Path) -> None:
    path = write(home / "tasks/broken.py", '"""Sort things.\n\nMore."""\nraise SystemExit("imported!")\n')
    assert catalog.names("tasks") == ["broken"]
    assert catalog.summary(path) == "Sort things."


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        ("# Copy, quickly.\nlr: 1", "Copy, quickly."),
        ("\n\n## Second.\n", "Second."),
        ("lr: 1\n# later", ""),
        ("", ""),
        ("\ufeff# Marked.\n", "Marked."),
    ],
)
def test_the_summary_of_a_recipe_is_its_first_comment(text: str, summary: str, tmp_path: Path) -> None:
    assert catalog.summary(write(tmp_path / "r.yaml", text)) == summary


def test_a_module_without_a_docstring_has_an_empty_summary(tmp_path: Path) -> None:
    assert catalog.summary(write(tmp_path / "m.py", "x = 1")) == ""


def test_class_constants_are_the_literals_of_modules_and_classes(tmp_path: Path) -> None:
    text = """
import nothing_of_this_name
group = "APE"
typed: dict[str, int] = {"length": 16}
bare: int
opened = open("x")
unhashable = {[]: 1}
class A:
    defaults = {"length": 3, "steps": -2}
    group = "later"
    def f(self):
        inner = 1
"""
    expected = {"group": "APE", "typed": {"length": 16}, "defaults": {"length": 3, "steps": -2}}
    assert catalog.class_constants(write(tmp_path / "m.py", text)) == expected


def test_a_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    path = write(tmp_path / "m.py", '"""Fine."""\nx = 1\ndef f(:\n')
    for read in (catalog.summary, catalog.class_constants, catalog.load):
        assert error_of(read, path).startswith(f"{path}:3: this file does not load: ")


@pytest.mark.parametrize("data", [b"x = '\xff'\n", b"x = 1\0\n", b"\x80\x81\x82"])
def test_a_binary_file_is_named(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_bytes(data)
    message = error_of(catalog.class_constants, path)
    assert message.startswith(str(path))
    assert "None" not in message


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_bytes(b'\xef\xbb\xbf"""Marked."""\n')
    assert catalog.summary(path) == "Marked."
    catalog.load(path)


def test_a_choice_is_a_name_and_options() -> None:
    assert parse_choice("sort:distinct=true:symbols=9") == ("sort", {"distinct": "true", "symbols": "9"})
    assert parse_choice(" sort : max-gap = 3 ") == ("sort", {"max_gap": "3"})
    assert parse_choice("x:law=a=b") == ("x", {"law": "a=b"})


@pytest.mark.parametrize("text", ["sort:distinct", "sort:", "sort:=true", "sort:distinct=", "sort::a=1"])
def test_a_part_that_is_no_option_is_an_error(text: str) -> None:
    assert "write NAME:option=value" in error_of(parse_choice, text)


def test_an_option_given_twice_is_an_error() -> None:
    assert "option max_gap is given twice" in error_of(parse_choice, "sort:max-gap=1:max_gap=2")


@pytest.mark.parametrize("text", ["sort_it:b=1:a_x=2", "sort-it:a-x=2:b=1", " sort_it : a_x = 2:b=1"])
def test_equal_choices_have_one_canonical_spelling(text: str) -> None:
    assert canonical(text) == "sort-it:a_x=2:b=1"


def test_the_canonical_spelling_of_a_path_is_the_whole_path_so_that_a_run_loads_from_anywhere() -> None:
    assert canonical("./my_own dir/a_b.py:x=1") == f"{Path.cwd()}/my_own dir/a_b.py:x=1"


def test_the_one_class_of_a_file_is_loaded(home: Path) -> None:
    text = "import things\nclass Mine(things.Thing): pass\nclass _Helper(things.Thing): pass\nAlias = things.Thing\n"
    write(home / "encodings/mine.py", text)
    cls = catalog.load_class("encodings", "mine", Thing)
    assert cls.__name__ == "Mine"
    assert catalog.load_class("encodings", "mine", Thing) is cls
    assert "mine" not in sys.modules


@pytest.mark.parametrize(
    ("text", "defined"), [("", "none"), ("class A(Thing): pass\nclass B(Thing): pass", "A, B"), ("class A: pass", "none")]
)
def test_no_class_or_two_are_an_error_that_lists_them(text: str, defined: str, home: Path) -> None:
    path = write(home / "encodings/mine.py", f"from things import Thing\n{text}\n")
    assert error_of(catalog.load_class, "encodings", "mine", Thing) == (
        f"{path}:1: the file must define exactly one subclass of Thing; it defines: {defined}"
    )


@pytest.mark.parametrize("line", ["1 / 0", "import no_module_of_this_name", "raise SystemExit(3)", "undefined"])
def test_a_file_that_fails_while_loading_is_named_with_its_line(line: str, home: Path) -> None:
    path = write(home / "tasks/broken.py", f"x = 1\n{line}\n")
    before = set(sys.modules)
    for _ in range(2):  # the second time must not find half a module
        assert error_of(catalog.load, path).startswith(f"{path}:2: this file does not load: ")
    assert set(sys.modules) == before


def test_the_line_is_in_the_users_file_when_a_library_fails(home: Path) -> None:
    path = write(home / "tasks/broken.py", "import json\n\n\njson.loads('{')\n")
    assert error_of(catalog.load, path).startswith(f"{path}:4: this file does not load: JSONDecodeError")


def test_files_of_one_name_in_two_folders_are_two_modules(tmp_path: Path) -> None:
    one, two = (catalog.load(write(tmp_path / f / "encodings/mine.py", f"x = {f!r}")) for f in ("a", "b"))
    assert (one.x, two.x) == ("a", "b")


def test_a_loaded_file_can_hold_dataclasses(tmp_path: Path) -> None:
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n    x: int = 1\n"
    module = catalog.load(write(tmp_path / "m.py", text))
    assert isinstance(module.__spec__, importlib.machinery.ModuleSpec)
    assert module.A().x == 1


class Options:
    def __init__(self, shape: int, *, base: float = 1.0, size: int = 2, law: str = "iid", flag: bool = False, odd: object = None):
        pass


def test_options_take_the_types_of_their_defaults() -> None:
    options = {"base": "5e2", "size": "7", "law": "1", "flag": "TRUE"}
    assert catalog.convert(Options, options, "thing") == {"base": 500.0, "size": 7, "law": "1", "flag": True}
    assert catalog.convert(Options, {"flag": "false", "size": 3}, "thing") == {"flag": False, "size": 3}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("bse", "1", "thing has no option 'bse': did you mean base"),
        ("shape", "1", "thing has no option 'shape'"),
        ("size", "1.5", "thing: option size must be a whole number, not '1.5'"),
        ("base", "high", "thing: option base must be a number, not 'high'"),
        ("flag", "yes", "thing: option flag must be true or false, not 'yes'"),
        ("odd", "1", "thing: option odd needs a default that shows its type"),
    ],
)
def test_a_wrong_option_says_what_it_takes(key: str, value: str, message: str) -> None:
    assert error_of(catalog.convert, Options, {key: value}, "thing").startswith(message)


def test_an_option_of_a_class_without_any_says_so() -> None:
    assert error_of(catalog.convert, Thing, {"base": "1"}, "thing") == "thing has no option 'base': it has none"

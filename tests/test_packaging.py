"""The wheel and the sdist are complete, constraints.txt pins every dependency, and the README has its commands."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from rpecli import __version__, catalog

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SHIPPED = {"rpecli": "rpecli", "tasks": "rpecli/tasks", "recipes": "rpecli/recipes"}  # folder of the tree -> folder in the wheel
BUILD_OUTPUTS = shutil.ignore_patterns(".git", ".venv", "runs", "build", "dist", "*.egg-info", "__pycache__", ".*_cache")


def shipped_files() -> dict[str, Path]:
    """Every file under the shipped folders, by its path in a wheel."""
    files = {}
    for folder, package in SHIPPED.items():
        for path in (ROOT / folder).rglob("*"):
            inner = path.relative_to(ROOT / folder)
            if path.is_file() and "__pycache__" not in inner.parts and not path.name.startswith("."):
                files[f"{package}/{inner.as_posix()}"] = path
    return files


def pins() -> dict[str, str]:
    """constraints.txt as {name: version}, names in lower case with hyphens."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def requirements() -> list[Requirement]:
    """Every direct dependency, also of the extras, except the project itself."""
    project = PROJECT["project"]
    texts = chain(project["dependencies"], *project["optional-dependencies"].values())
    return [requirement for requirement in map(Requirement, texts) if requirement.name != project["name"]]


def fenced_lines() -> list[str]:
    """The lines of the README's fenced blocks."""
    lines, fenced = [], False
    for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced:
            lines.append(line)
    return lines


def test_every_folder_with_code_is_listed_in_pyproject() -> None:
    """A folder that is not listed is missing from the wheel, and an editable install does not show that."""
    packages = {name.rpartition("/")[0].replace("/", ".") for name in shipped_files() if name.endswith(".py")}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages | {"rpecli.recipes"}, "edit [tool.setuptools] packages"


def test_tasks_and_recipes_are_not_importable_packages() -> None:
    """With an `__init__.py`, `import tasks` would work in a checkout, so tests could pass that fail after installation."""
    assert not [path for kind in ("tasks", "recipes") for path in (ROOT / kind).rglob("__init__.py")]


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_dependency_has_a_pin_within_its_bounds(requirement: Requirement) -> None:
    pinned = pins().get(requirement.name.lower())
    assert pinned, f"constraints.txt has no line {requirement.name}==VERSION"
    assert requirement.specifier.contains(pinned), f"constraints.txt: {requirement.name}=={pinned} is outside {requirement}"


def test_pins_have_no_local_version() -> None:
    """A local version (`+cpu`) exists in one package index only."""
    assert not [name for name, version in pins().items() if not re.fullmatch(r"[0-9.]+((a|b|rc)[0-9]+)?(\.post[0-9]+)?", version)]


@pytest.mark.parametrize("end", ["rpe run quick", "pytest -n auto --dist loadfile"])
def test_the_readme_has_one_command_from_a_fresh_clone_to(end: str) -> None:
    """`.ci/run` takes the second one out of the README by the same rule."""
    lines = [line for line in fenced_lines() if line.startswith("python3 -m venv ") and line.endswith(end)]
    example = f"python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e . && .venv/bin/{end}"
    assert len(lines) == 1, f"README.md: exactly one fenced line should read {example!r}, not {lines}"
    install = r"python3 -m venv \.venv && \.venv/bin/pip install .*-c constraints\.txt .+ && \.venv/bin/"
    assert re.fullmatch(install + end, lines[0]), f"README.md: {lines[0]!r} should read {example!r}"


def test_hooks_need_no_network() -> None:
    """A hook from another repository would be downloaded at the first commit."""
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    hooks = [hook for repo in repos for hook in repo["hooks"]]
    assert {repo["repo"] for repo in repos} == {"local"}
    assert {hook["language"] for hook in hooks} == {"system"}
    assert {hook["entry"].split()[0] for hook in hooks} == {".venv/bin/ruff", ".venv/bin/mypy", ".venv/bin/pytest"}
    ignored = re.findall(r"--ignore=(\S+)", " ".join(hook["entry"] for hook in hooks))
    assert not [path for path in ignored if not (ROOT / path).is_file()], "a hook ignores a test file that does not exist"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist and the wheel built from it; built from a copy, since a build in place leaves `build/lib` behind."""
    source, out = tmp_path_factory.mktemp("copy") / "rpe", tmp_path_factory.mktemp("dist")
    shutil.copytree(ROOT, source, ignore=BUILD_OUTPUTS)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    completed = subprocess.run(command, capture_output=True, text=True)
    assert completed.returncode == 0, f"{completed.stdout}\n{completed.stderr}\n(the build needs: pip install -e '.[test]')"
    return out


@pytest.fixture(scope="module")
def unpacked(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the wheel puts into site-packages."""
    (wheel,) = built.glob("*.whl")
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_wheel_holds_every_shipped_file_and_nothing_else(unpacked: Path) -> None:
    files = {path.relative_to(unpacked).as_posix(): path for path in unpacked.rglob("*") if path.is_file()}
    metadata = f"rpe-{__version__}.dist-info/"
    assert {name for name in files if not name.startswith(metadata)} == set(shipped_files())
    assert not [name for name, path in shipped_files().items() if path.read_bytes() != files[name].read_bytes()]
    assert (unpacked / metadata / "licenses" / "LICENSE").is_file()
    assert (unpacked / "rpecli" / "py.typed").is_file()
    assert "rpe = rpecli.__main__:main" in (unpacked / metadata / "entry_points.txt").read_text()


def test_the_sdist_holds_what_the_tests_need(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    folders = ("rpecli", "tasks", "recipes", "tests", "docs", "results", "scripts", ".ci")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    files = {path for path in paths if path.is_file() and "__pycache__" not in path.parts and path.name != ".DS_Store"}
    top = {"README.md", "LICENSE", "LOG.md", "pyproject.toml", "constraints.txt", ".pre-commit-config.yaml", "MANIFEST.in"}
    assert {path.relative_to(ROOT).as_posix() for path in files} | top <= names


@pytest.fixture
def from_wheel(unpacked: Path, tmp_path: Path) -> Callable[..., str]:
    """`from_wheel("-m", "rpecli", ...)` runs Python in an empty folder, with rpecli from the wheel; returns its stdout."""

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        environment = os.environ | {"PYTHONPATH": str(unpacked)}
        completed = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert completed.returncode == 0, completed.stderr
        return completed.stdout

    return run


@pytest.mark.parametrize("kind", list(catalog.SUFFIX))
def test_the_wheel_lists_the_same_names_as_the_tree(from_wheel: Callable[..., str], unpacked: Path, kind: str) -> None:
    folder = from_wheel("-c", f"from rpecli import catalog; print(catalog.folder({kind!r}))")
    assert Path(folder.strip()) == unpacked.resolve() / "rpecli" / kind
    rows = json.loads(from_wheel("-m", "rpecli", "ls", kind, "--json"))
    choices = [next(iter(row.values())) for row in rows]  # of tasks, their variants too
    assert list(dict.fromkeys(choice.partition(":")[0] for choice in choices)) == catalog.names(kind)


def test_the_recipes_in_the_wheel_pass_the_check(from_wheel: Callable[..., str]) -> None:
    lines = from_wheel("-m", "rpecli", "check").splitlines()
    assert [line.split(":")[0] for line in lines] == catalog.names("recipes")
    assert all(line.endswith("no errors") for line in lines)

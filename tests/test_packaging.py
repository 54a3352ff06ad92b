"""What is installed: every folder of code is in the wheel, pins cover every dependency, and the README's commands stand."""

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
SHIPPED = {"rpecli": "rpecli", "tasks": "rpecli/tasks", "recipes": "rpecli/recipes"}  # folder here -> folder in the wheel
LITTER = shutil.ignore_patterns(".git", ".venv", "runs", "build", "dist", "*.egg-info", "__pycache__", ".*_cache")


def shipped_files() -> dict[str, Path]:
    """Every file under the shipped folders, by its path in a wheel."""
    found = {}
    for here, there in SHIPPED.items():
        for path in (ROOT / here).rglob("*"):
            inner = path.relative_to(ROOT / here)
            if path.is_file() and "__pycache__" not in inner.parts and not path.name.startswith("."):
                found[f"{there}/{inner.as_posix()}"] = path
    return found


def pins() -> dict[str, str]:
    """constraints.txt as {name: version}, names in lower case with hyphens."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def requirements() -> list[Requirement]:
    """Every direct dependency, of the extras too, without the project itself."""
    project = PROJECT["project"]
    texts = chain(project["dependencies"], *project["optional-dependencies"].values())
    return [made for made in map(Requirement, texts) if made.name != project["name"]]


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


def test_the_folders_beside_the_package_are_no_packages() -> None:
    """With an `__init__.py` a module called `tasks` would be importable from a checkout, and tests would pass that users fail."""
    assert not [path for kind in ("tasks", "recipes") for path in (ROOT / kind).rglob("__init__.py")]


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_dependency_has_a_pin_within_its_bounds(requirement: Requirement) -> None:
    pinned = pins().get(requirement.name.lower())
    assert pinned, f"constraints.txt has no line {requirement.name}==VERSION"
    assert requirement.specifier.contains(pinned), f"constraints.txt: {requirement.name}=={pinned} is outside {requirement}"


def test_pins_hold_on_every_machine() -> None:
    """A local version (`+cpu`) exists in one build only."""
    assert not [name for name, version in pins().items() if not re.fullmatch(r"[0-9.]+(\.post[0-9]+)?", version)]


@pytest.mark.parametrize("end", ["rpe run quick", "pytest"])
def test_the_readme_has_one_command_from_a_fresh_clone_to(end: str) -> None:
    """`.ci/run` takes the second one out of the README by the same rule."""
    found = [line for line in fenced_lines() if line.startswith("python3 -m venv ") and line.endswith(end)]
    wanted = f"python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e . && .venv/bin/{end}"
    assert len(found) == 1, f"README.md: one line of a fenced block should read {wanted!r}, found: {found}"
    install = r"python3 -m venv \.venv && \.venv/bin/pip install .*-c constraints\.txt .+ && \.venv/bin/"
    assert re.fullmatch(install + end, found[0]), f"README.md: {found[0]!r} is not {wanted!r}"


def test_hooks_need_no_network() -> None:
    """A hook from another repository would be fetched at the first commit."""
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    hooks = [hook for repo in repos for hook in repo["hooks"]]
    assert {repo["repo"] for repo in repos} == {"local"}
    assert {hook["language"] for hook in hooks} == {"system"}
    assert {hook["entry"].split()[0] for hook in hooks} == {".venv/bin/ruff", ".venv/bin/mypy", ".venv/bin/pytest"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an sdist and of the wheel made from it, from a copy: a build in place leaves `build/lib` for the next one."""
    source, out = tmp_path_factory.mktemp("copy") / "rpe", tmp_path_factory.mktemp("dist")
    shutil.copytree(ROOT, source, ignore=LITTER)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n(the build needs: pip install -e '.[test]')"
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
    own = f"rpe-{__version__}.dist-info/"
    assert {name for name in files if not name.startswith(own)} == set(shipped_files())
    assert not [name for name, path in shipped_files().items() if path.read_bytes() != files[name].read_bytes()]
    assert (unpacked / own / "licenses" / "LICENSE").is_file()
    assert "rpe = rpecli.cli.app:main" in (unpacked / own / "entry_points.txt").read_text()


def test_the_sdist_holds_what_the_tests_need(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tops = ("rpecli", "tasks", "recipes", "tests", "docs", "results", ".ci")
    folders = [path for top in tops for path in (ROOT / top).rglob("*")]
    files = {path for path in folders if path.is_file() and "__pycache__" not in path.parts and path.name != ".DS_Store"}
    single = {"README.md", "LICENSE", "pyproject.toml", "constraints.txt", ".pre-commit-config.yaml", "MANIFEST.in"}
    assert {path.relative_to(ROOT).as_posix() for path in files} | single <= names


@pytest.fixture
def from_wheel(unpacked: Path, tmp_path: Path) -> Callable[..., str]:
    """`from_wheel("-m", "rpecli", ...)`: Python in an empty folder, with rpecli from the wheel; its stdout."""

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        there = os.environ | {"PYTHONPATH": str(unpacked)}
        done = subprocess.run(command, cwd=tmp_path, env=there, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("kind", list(catalog.SUFFIX))
def test_the_wheel_lists_what_the_tree_lists(from_wheel: Callable[..., str], unpacked: Path, kind: str) -> None:
    found = from_wheel("-c", f"from rpecli import catalog; print(catalog.folder({kind!r}))")
    assert Path(found.strip()) == unpacked.resolve() / "rpecli" / kind
    rows = json.loads(from_wheel("-m", "rpecli", "ls", kind, "--json"))
    assert [next(iter(row.values())) for row in rows] == catalog.names(kind)


def test_the_recipes_in_the_wheel_pass_the_check(from_wheel: Callable[..., str]) -> None:
    lines = from_wheel("-m", "rpecli", "check").splitlines()
    assert [line.split(":")[0] for line in lines] == catalog.names("recipes")
    assert all(line.endswith("all well") for line in lines)

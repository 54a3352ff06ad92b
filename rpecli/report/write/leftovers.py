"""The files of an earlier report in its folder that the next one does not write: of other runs, they would pass for its own.

Names that hold a task are those of figures that the page of the earlier report shows: another file may be the user's own. Figures
for a paper, which were asked for by a flag, stay.
"""

import re
from collections.abc import Collection
from pathlib import Path

from rpecli.report.figures.report import GRID, PLACES, PROBES
from rpecli.report.write.markdown import DATA

PAGE = "report.md"
KINDS = r"\.(?:png|svg|pdf)"
FIGURES = re.compile(rf"(?:accuracy-\d+|learning|profiles){KINDS}")
SHOWN = re.compile(rf"!\[[^]]*\]\(((?:{GRID}|{PLACES}|{PROBES})[a-z0-9-]+){KINDS}\)")


def leftovers(folder: Path, files: Collection[str]) -> list[Path]:
    """Those in the folder before files of these names are written; none without the page of a report here and there."""
    page = folder / PAGE
    if PAGE not in files or not page.is_file():
        return []
    stems = set(SHOWN.findall(page.read_text(encoding="utf-8", errors="replace")))
    return [path for path in folder.iterdir() if path.is_file() and path.name not in files and _is_of_report(path, stems)]


def _is_of_report(path: Path, stems: Collection[str]) -> bool:
    """Whether a report writes such a file, where its page shows figures of these stems."""
    shown = path.stem in stems and re.fullmatch(KINDS, path.suffix)
    return bool(path.name in DATA or FIGURES.fullmatch(path.name) or shown)

"""Pictures of what one head attends to in one string: a row per answer token, a column per key, from the training length on."""

import base64
import io
from dataclasses import dataclass

from rpecli.report.format import format_factor
from rpecli.report.load_probes import InspectedRun, TaskProbes
from rpecli.run.records import AttentionMap

COLORMAP = "Blues"
PIXELS = 2  # of a cell


@dataclass(frozen=True)
class MapImage:
    """One picture; `uri` holds it as PNG."""

    length: int
    factor: str
    uri: str
    width: int  # pixels at which it is shown
    height: int


@dataclass(frozen=True)
class EncodingMaps:
    """The head of one run that follows its pattern most, at every length that was kept."""

    title: str
    head: str  # `layer 1, head 2`
    pattern: str
    images: list[MapImage]


def attention_maps(probes: TaskProbes) -> list[EncodingMaps]:
    """One entry per encoding, of its first run; none for encodings without such a head."""
    first = [probes.runs_of(label)[0] for label in probes.labels]
    return [_maps(run, kept) for run in first if (kept := run.get("attention_map"))]


def _maps(run: InspectedRun, kept: AttentionMap) -> EncodingMaps:
    trained = run["train_length"]
    images = [_image(int(length), rows, trained) for length, rows in kept["rows"].items() if int(length) >= trained]
    return EncodingMaps(run["title"], f"layer {kept['layer']}, head {kept['head']}", kept["pattern"], images)


def _image(length: int, rows: list[str], train_length: int) -> MapImage:
    from matplotlib import image

    weights_NxT = [[int(weight) / 9 for weight in row] for row in rows]
    png = io.BytesIO()
    image.imsave(png, weights_NxT, cmap=COLORMAP, vmin=0, vmax=1, metadata={"Software": ""})
    uri = f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
    return MapImage(length, format_factor(length, train_length), uri, PIXELS * len(rows[0]), PIXELS * len(rows))

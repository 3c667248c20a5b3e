"""matplotlib and pandas as they are: figures without a window, tables as HTML."""

import base64
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.runtime.contexts.harness import Cell, Context, Forks

PLOT = "import matplotlib.pyplot as plt\n"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of matplotlib: building its list of fonts takes a second."""
    return tmp_path_factory.mktemp("matplotlib")


@pytest.fixture
def data(forks: Forks, packages: Path, cache: Path) -> Iterator[Context]:
    with forks.context(PYTHONPATH=str(packages), MPLCONFIGDIR=str(cache)) as context:
        yield context


def sizes(cell: Cell) -> list[tuple[int, int]]:
    """Width and height of each picture, in order."""
    pictures = [
        base64.b64decode(item["data"]["image/png"])
        for item in cell.items
        if "image/png" in item.get("data", {})
    ]
    assert all(picture.startswith(b"\x89PNG\r\n") for picture in pictures)
    return [struct.unpack(">II", picture[16:24]) for picture in pictures]


def quiet(cell: Cell) -> Cell:
    assert (cell.code, cell.stderr) == (0, "")
    return cell


def test_open_figures_are_shown_at_the_end_of_a_cell_and_closed(data: Context) -> None:
    cell = quiet(data.run(PLOT + "plt.plot([1, 2])\nplt.figure(figsize=(2, 1))\nplt.plot([3]);"))
    assert [item["type"] for item in cell.items] == ["display", "display"]
    (width, height), (small, _) = sizes(cell)
    assert 450 < width < 640
    assert 350 < height < 480
    assert 150 < small < 260
    assert cell.displays[0]["text/plain"] == "<Figure size 640x480 with 1 Axes>"
    assert quiet(data.run("plt.get_fignums()")).text == "[]"
    assert quiet(data.run("x = 1")).items == []


def test_a_figure_as_the_value_is_shown_once(data: Context) -> None:
    cell = quiet(data.run(PLOT + "fig, ax = plt.subplots()\nax.plot([1])\nfig"))
    assert [item["type"] for item in cell.items] == ["result"]
    assert len(sizes(cell)) == 1
    assert [item["type"] for item in quiet(data.run("fig")).items] == ["result"]
    assert [item["type"] for item in quiet(data.run("fig;")).items] == []


def test_figures_come_before_the_value(data: Context) -> None:
    cell = quiet(data.run(PLOT + "plt.plot([1])\n5"))
    assert [item["type"] for item in cell.items] == ["display", "result"]
    assert "image/png" in cell.displays[0]
    lines = quiet(data.run("plt.plot([1])")).text
    assert lines is not None
    assert lines.startswith("[<matplotlib.lines.Line2D")


def test_show_shows_at_once_and_does_not_block_or_warn(data: Context) -> None:
    code = (
        "for n in range(3):\n    plt.plot([n])\n    plt.show()\n"
        "    display(n)\nplt.show(block=True)"
    )
    cell = quiet(data.run("import warnings\nwarnings.simplefilter('error')\n" + PLOT + code))
    assert ["image/png" in shown for shown in cell.displays] == [True, False] * 3
    also = (
        "from matplotlib.pyplot import *\nimport pylab\nplot([1])\nshow()\n"
        "pylab.plot([1])\npylab.show()"
    )
    assert len(sizes(quiet(data.run(also)))) == 2
    assert len(sizes(quiet(data.run("plt.plot([1])\nplt.gcf().show()\nplt.pause(0.001)")))) == 1


def test_display_of_a_figure_shows_it_once(data: Context) -> None:
    cell = quiet(data.run(PLOT + "fig = plt.figure()\nplt.plot([1])\ndisplay(fig)\ndisplay(1)"))
    assert ["image/png" in shown for shown in cell.displays] == [True, False]
    loose = "from matplotlib.figure import Figure\nf = Figure()\nf.add_subplot().plot([1])\nf"
    assert len(sizes(quiet(data.run(loose)))) == 1


def test_empty_figures_are_not_shown(data: Context) -> None:
    assert quiet(data.run(PLOT + "f = plt.figure()")).items == []


def test_figures_of_a_failed_cell_are_shown(data: Context) -> None:
    cell = data.run(PLOT + "plt.plot([1])\n1 / 0")
    assert [item["type"] for item in cell.items] == ["display", "error"]
    assert len(sizes(cell)) == 1


def test_a_figure_that_cannot_be_drawn_says_why(data: Context) -> None:
    cell = data.run(
        PLOT + "plt.plot([1])\nplt.title(r'$\\nonsense$')\nplt.figure()\nplt.plot([2]);"
    )
    assert (cell.code, len(sizes(cell))) == (0, 1)
    assert "(its picture raised ValueError:" in cell.displays[0]["text/plain"]
    assert quiet(data.run("plt.get_fignums()")).text == "[]"


def test_a_picture_that_is_too_large_is_named(data: Context) -> None:
    code = (
        "import numpy\nfig = plt.figure(figsize=(20, 20))\n"
        "plt.imshow(numpy.random.rand(1500, 1500))\nfig"
    )
    item = quiet(data.run(PLOT + code)).items[0]
    assert list(item["data"]) == ["text/plain"]
    assert item["omitted"]["image/png"] > 1 << 20


def test_agg_is_chosen_unless_the_user_chose(forks: Forks, packages: Path, data: Context) -> None:
    assert quiet(data.run(PLOT + "plt.get_backend().lower()")).text == "'agg'"
    program = (
        "import subprocess, sys\nsubprocess.run([sys.executable, '-c', "
        f"{PLOT!r} 'print(plt.get_backend())'])"
    )
    assert quiet(data.run(program)).stdout.lower() == "agg\n"
    with forks.context(PYTHONPATH=str(packages), MPLBACKEND="svg") as context:
        assert context.run(PLOT + "plt.get_backend()").text == "'svg'"
        assert len(sizes(context.run("plt.plot([1])\nplt.show()"))) == 1
    chosen = "import matplotlib\nmatplotlib.use('Agg')\nplt.plot([1])\nplt.savefig('x.png')"
    assert len(sizes(quiet(data.run(chosen)))) == 1


def test_a_module_in_the_place_of_pyplot_does_no_harm(context: Context) -> None:
    context.run(
        "import sys, unittest.mock\nsys.modules['matplotlib.pyplot'] = unittest.mock.Mock()"
    )
    assert context.run("1").text == "1"
    context.run("sys.modules['matplotlib.pyplot'] = 5")
    assert context.run("2").text == "2"


def test_without_matplotlib_the_import_fails_as_ever(context: Context) -> None:
    error = context.run("import matplotlib.pyplot").error
    assert error is not None
    assert error["value"] == "No module named 'matplotlib'"


def test_an_interrupt_while_drawing_ends_the_cell(data: Context) -> None:
    slow = (
        "class Slow(plt.Line2D):\n    def draw(self, renderer):\n"
        "        print('drawing', flush=True)\n        while True: pass"
    )
    quiet(data.run(PLOT + slow))
    running = data.start("plt.gca().add_line(Slow([0, 1], [0, 1]));")
    running.printed("drawing")
    data.interrupt()
    assert running.end().end == {"done": 1, "interrupted": True}
    assert quiet(data.run("plt.get_fignums()")).text == "[]"


def test_a_data_frame_is_html_and_text(data: Context) -> None:
    cell = quiet(data.run("import pandas as pd\nframe = pd.DataFrame({'a': [1, 2]})\nframe"))
    assert list(cell.results[0]) == ["text/plain", "text/html"]
    assert cell.text == "   a\n0  1\n1  2"
    assert "<td>2</td>" in cell.results[0]["text/html"]
    assert quiet(data.run("frame.a")).text == "0    1\n1    2\nName: a, dtype: int64"
    assert len(sizes(quiet(data.run("ax = frame.plot()")))) == 1
    large = quiet(data.run("pd.DataFrame({str(n): range(10**5) for n in range(50)})"))
    assert len(large.results[0]["text/html"]) < 100_000


def test_print_options_hold_for_later_cells(data: Context) -> None:
    data.run("import asyncio, numpy\nawait asyncio.sleep(0)\nnumpy.set_printoptions(precision=2)")
    assert quiet(data.run("numpy.array([1 / 3])")).text == "array([0.33])"

"""One HTML page that stands alone: no script, no font, no picture is fetched."""

from collections.abc import Iterable, Sequence
from html import escape

from llmspec.report.chart import Chart
from llmspec.report.svg import STYLE as CHART_STYLE
from llmspec.report.svg import svg

STYLE = """\
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1f2328; background: #fff; }
h1 { font-size: 1.4rem; margin-bottom: 0.2rem; }
p { margin: 0.3rem 0; color: #656d76; }
table { border-collapse: collapse; width: 100%; margin: 1.2rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: 0.35rem 0.6rem; text-align: right; border-bottom: 1px solid #d8dee4; white-space: nowrap; }
th:first-child, td:first-child, th:last-child, td:last-child { text-align: left; }
td:first-child { white-space: normal; min-width: 12rem; }
.wrapped td { vertical-align: top; } .wrapped td:last-child { white-space: normal; width: 50%; }
small { display: block; color: #656d76; line-height: 1.3; }
.good { color: #1a7f37; } .bad { color: #bc4c00; }
.scroll { overflow-x: auto; }
figure { margin: 1.5rem 0; }
figcaption { color: #656d76; font-size: 0.87rem; padding: 0 0.5rem; }
.gallery { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 0.5rem 2rem; align-items: start; }
.gallery figure { margin: 0.75rem 0; }
summary { cursor: pointer; }
details details { margin: 0.2rem 0 0.2rem 1rem; }
.folded > summary { font-weight: 600; margin: 1rem 0 0.5rem; }
pre { font: 12px/1.45 ui-monospace, monospace; overflow-x: auto; margin: 0.3rem 0 0.8rem; }
@media (max-width: 40rem) {
  .wrapped thead { display: none; }
  .wrapped tr { display: grid; grid-template-columns: 1fr auto; border-bottom: 1px solid #8886; }
  .wrapped td { border: 0; } .wrapped td:first-child { min-width: 0; }
  .wrapped td:last-child { grid-column: 1 / -1; width: auto; padding-top: 0; }
}
@media (prefers-color-scheme: dark) {
  body { color: #e6edf3; background: #0d1117; } p, small, figcaption { color: #8d96a0; } th, td { border-color: #30363d; }
  .good { color: #3fb950; } .bad { color: #f0883e; }
}
"""


def page(title: str, remarks: Iterable[str], header: Sequence[str], rows: Iterable[Sequence[str]], charts: Iterable[Chart]) -> str:
    """A title, remarks, a table and charts.

    A cell that starts with `inside` or `outside` is coloured so; what stands after a line end in a cell is small.
    """
    figures = "\n".join(f"<figure>{svg(chart, style=False)}</figure>" for chart in charts)
    return document(title, remarks, [table(header, rows), figures])


def document(title: str, remarks: Iterable[str], blocks: Iterable[str]) -> str:
    """A whole page of blocks, which are HTML already."""
    body = "\n".join(blocks)
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{STYLE}{CHART_STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
{"".join(map(remark, remarks))}
{body}
</body>
</html>
"""


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, wrapped: bool = False) -> str:
    """A table; what stands after a line end in a cell is small. `wrapped` ends long lines of the last column where the page ends."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "\n".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return f"""\
<div class="scroll"><table{' class="wrapped"' if wrapped else ""}>
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody>
</table></div>"""


def remark(text: str) -> str:
    """A paragraph."""
    return f"<p>{escape(text)}</p>"


def gallery(pictures: Iterable[tuple[str, str]]) -> str:
    """Pictures side by side where there is room, each an `<svg>` with a caption."""
    figures = "\n".join(f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>" for picture, caption in pictures)
    return f'<div class="gallery">\n{figures}\n</div>'


def folded(title: str, entries: Iterable[tuple[str, Iterable[str]]]) -> str:
    """Texts that open when the reader asks for them: each a heading and lines."""
    inner = "\n".join(
        f"<details><summary>{escape(heading)}</summary><pre>{escape(chr(10).join(lines))}</pre></details>" for heading, lines in entries
    )
    return f'<details class="folded"><summary>{escape(title)}</summary>\n{inner}\n</details>'


def _cell(text: str) -> str:
    kind = "good" if text.startswith("inside") else "bad" if text.startswith("outside") else ""
    first, _, rest = text.partition("\n")
    content = escape(first) + (f"<small>{escape(rest)}</small>" if rest else "")
    return f'<td class="{kind}">{content}</td>' if kind else f"<td>{content}</td>"

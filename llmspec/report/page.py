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
small { display: block; color: #656d76; line-height: 1.3; }
.good { color: #1a7f37; } .bad { color: #bc4c00; }
.scroll { overflow-x: auto; }
figure { margin: 1.5rem 0; }
@media (prefers-color-scheme: dark) {
  body { color: #e6edf3; background: #0d1117; } p, small { color: #8d96a0; } th, td { border-color: #30363d; }
  .good { color: #3fb950; } .bad { color: #f0883e; }
}
"""


def page(title: str, remarks: Iterable[str], header: Sequence[str], rows: Iterable[Sequence[str]], charts: Iterable[Chart]) -> str:
    """A title, remarks, a table and charts.

    A cell that starts with `inside` or `outside` is coloured so; what stands after a line end in a cell is small.
    """
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "\n".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    figures = "\n".join(f"<figure>{svg(chart, style=False)}</figure>" for chart in charts)
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
{"".join(f"<p>{escape(remark)}</p>" for remark in remarks)}
<div class="scroll"><table>
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody>
</table></div>
{figures}
</body>
</html>
"""


def _cell(text: str) -> str:
    kind = "good" if text.startswith("inside") else "bad" if text.startswith("outside") else ""
    first, _, rest = text.partition("\n")
    content = escape(first) + (f"<small>{escape(rest)}</small>" if rest else "")
    return f'<td class="{kind}">{content}</td>' if kind else f"<td>{content}</td>"

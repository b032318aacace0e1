"""What can be said and estimated but not be built yet."""

from collections.abc import Iterator

from llmspec.check.registry import Finding, build_rule
from llmspec.resolve import Resolved

_LAYOUTS = {
    "tensor": (1,),
    "pipeline": (1,),
    "context": (1,),
    "expert": (1,),
}
_PHRASES = {
    "tensor": "tensor parallelism",
    "pipeline": "pipeline parallelism",
    "context": "context parallelism",
    "expert": "expert parallelism",
}
_PRECISIONS = ("bf16", "fp16", "fp32", "fp8")


@build_rule("LS390", "layout-not-built-yet", since="0.1")
def layout_not_built_yet(resolved: Resolved) -> Iterator[Finding]:
    """A layout that `estimate` knows and `build` does not.

    ## What it checks
    Every degree and every engine under `parallelism` is one that projects are written for.

    ## Why it matters
    The estimate tells what a layout would cost before llmspec can write it. Building it anyway would give a project that computes
    something else.

    ## Example
    ```yaml
    parallelism: {tensor: 8}
    ```

    Use instead:
    ```yaml
    parallelism: {tensor: 1}
    ```
    """
    for name, built in _LAYOUTS.items():
        value = getattr(resolved.spec.parallelism, name)
        if value not in built:
            yield Finding(f"{_PHRASES[name]} is not built yet", f"parallelism.{name}", help=("`llmspec estimate` knows what it costs",))


@build_rule("LS391", "precision-not-built-yet", since="0.1")
def precision_not_built_yet(resolved: Resolved) -> Iterator[Finding]:
    """A number format that `estimate` knows and `build` does not.

    ## What it checks
    `precision` is one that projects are written for.

    ## Why it matters
    The estimate tells what a number format would cost before llmspec can write it.

    ## Example
    ```yaml
    precision: fp4
    ```

    Use instead:
    ```yaml
    precision: bf16
    ```
    """
    precision = resolved.spec.precision
    if precision not in _PRECISIONS:
        yield Finding(f"training in {precision} is not built yet", "precision", help=("`llmspec estimate` knows what it costs",))

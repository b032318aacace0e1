"""Rules on the launch scripts."""

import re
from collections.abc import Iterator

from llmspec.check.registry import Finding, fact, rule
from llmspec.resolve import Resolved

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What launchers themselves tell the processes, or this run's scripts tell each other.
_TAKEN = frozenset(
    "RANK LOCAL_RANK NODE_RANK WORLD_SIZE LOCAL_WORLD_SIZE GROUP_RANK MASTER_ADDR MASTER_PORT CUDA_VISIBLE_DEVICES PYTHON PATH PWD".split()
)
# Slurm ends an option at white space, and reads quotes, backslashes and # in its own way.
_PLAIN = re.compile(r"[A-Za-z0-9_.,:;@%&|*()\[\]/=+~!-]+")


@rule("LS335", "restarts-need-elastic-rendezvous", since="0.1")
def restarts_need_elastic_rendezvous(resolved: Resolved) -> Iterator[Finding]:
    """Restarts on several machines that could not find each other again.

    ## What it checks
    With several nodes, `launch.torchrun.max_restarts` above 0 goes with an elastic rendezvous.

    ## Why it matters
    After a failure on one machine, the others have to hear of it and meet again. With a static rendezvous each torchrun restarts its own
    processes only, which then wait for the others until they time out.

    ## Example
    ```yaml
    hardware: {accelerator: h100-sxm, nodes: 2, accelerators_per_node: 8}
    launch: {torchrun: {max_restarts: 3}}
    ```

    Use instead:
    ```yaml
    hardware: {accelerator: h100-sxm, nodes: 2, accelerators_per_node: 8}
    launch: {torchrun: {rendezvous: elastic, max_restarts: 3}}
    ```
    """
    torchrun = resolved.spec.launch.torchrun
    if torchrun is not None and torchrun.max_restarts and torchrun.rendezvous == "static" and resolved.spec.hardware.nodes > 1:
        yield Finding(
            "a static rendezvous happens once, so several machines cannot restart",
            "launch.torchrun.max_restarts",
            "",
            (fact(resolved, "hardware.nodes"), fact(resolved, "launch.torchrun.rendezvous")),
            ("write `rendezvous: elastic`", "or leave `max_restarts` out"),
        )


@rule("LS336", "environment-variable-unfit", since="0.1")
def environment_variable_unfit(resolved: Resolved) -> Iterator[Finding]:
    """An environment variable that cannot be set, or that launchers set themselves.

    ## What it checks
    Names in `launch.environment` are letters, digits and `_`, do not start with a digit, and are none that a launcher gives each process
    another value of, such as `RANK`. Values are one line.

    ## Why it matters
    A shell takes other names for commands. A rank that is the same everywhere hangs the run.

    ## Example
    ```yaml
    launch: {environment: {NCCL-DEBUG: WARN}}
    ```

    Use instead:
    ```yaml
    launch: {environment: {NCCL_DEBUG: WARN}}
    ```
    """
    for name, value in resolved.spec.launch.environment.items():
        path = f"launch.environment.{name}"
        if _NAME.fullmatch(name) is None:
            mended = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")
            hints = (f"such as `{mended}`",) if _NAME.fullmatch(mended) else ()
            yield Finding("a variable's name has letters, digits and `_`, and does not start with a digit", path, help=hints)
        elif name in _TAKEN:
            yield Finding(f"`{name}` is set by the launchers", path, help=("remove it",))
        elif "\n" in value or "\r" in value:
            yield Finding(f"the value of `{name}` has more than one line", path)


@rule("LS337", "slurm-option-unfit", since="0.1")
def slurm_option_unfit(resolved: Resolved) -> Iterator[Finding]:
    """A value that an option of sbatch cannot have.

    ## What it checks
    What stands under `launch.slurm` for sbatch is without white space, quotes, backslashes and `#`; `options` start with `--`.

    ## Why it matters
    sbatch reads options from comments, where there is no quoting to rely on: the rest of such a value would be lost or be another option.

    ## Example
    ```yaml
    launch: {slurm: {partition: gpu long}}
    ```

    Use instead:
    ```yaml
    launch: {slurm: {partition: "gpu,long"}}
    ```
    """
    slurm = resolved.spec.launch.slurm
    if slurm is None:
        return
    names = ("partition", "account", "qos", "constraint", "reservation", "gres", "memory", "output")
    values = [(f"launch.slurm.{name}", getattr(slurm, name)) for name in names]
    values += [(f"launch.slurm.options[{index}]", option) for index, option in enumerate(slurm.options)]
    for path, value in values:
        if value is None:
            continue
        if _PLAIN.fullmatch(value) is None:
            yield Finding("an option of sbatch has no white space, quotes, backslashes or `#`", path)
        elif ".options[" in path and not re.match(r"--[a-z]", value):
            yield Finding("an option of sbatch starts with `--`", path, help=("such as `--mail-type=END`",))


@rule("LS338", "setup-is-no-shell", since="0.1")
def setup_is_no_shell(resolved: Resolved) -> Iterator[Finding]:
    """Lines of shell that bash cannot read.

    ## What it checks
    `launch.slurm.setup`, as a whole, is a script that bash can parse. Nothing of it is run.

    ## Why it matters
    These lines stand in the emitted script as they are. A quote that is not closed would take the rest of the script with it.

    ## Example
    ```yaml
    launch: {slurm: {setup: ["export NAME='value"]}}
    ```

    Use instead:
    ```yaml
    launch: {slurm: {setup: ["export NAME='value'"]}}
    ```
    """
    slurm = resolved.spec.launch.slurm
    if slurm is None or not slurm.setup:
        return
    # Imported here because they cost a start that does without.
    import shutil
    import subprocess

    bash = shutil.which("bash")
    if bash is None:
        return
    script = "".join(f"{line}\n" for line in slurm.setup)
    finished = subprocess.run([bash, "-n"], input=script, capture_output=True, text=True, check=False)
    if finished.returncode != 0 or finished.stderr:
        first = finished.stderr.strip().splitlines()[0].partition(": ")[2]  # without the name of the program
        yield Finding("bash cannot read these lines", "launch.slurm.setup", first)

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
_SLURM = ("partition", "account", "qos", "constraint", "reservation", "gres", "memory", "output")
# Names of objects (RFC 1123) and quantities, as Kubernetes' API has them.
_LABEL = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|[kMGTPE]|[KMGTPE]i)?")
_KUBERNETES_NAMES = ("volume_claim", "storage_class", "namespace", "image_pull_secret")
_KUBERNETES_SIZES = ("storage", "cpus", "memory", "shared_memory")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")


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


@rule("LS337", "launch-value-unfit", since="0.1")
def launch_value_unfit(resolved: Resolved) -> Iterator[Finding]:
    """A value that a launcher could not read.

    ## What it checks
    - What stands under `launch.slurm` for sbatch is without white space, quotes, backslashes and `#`; `options` start with `--`.
    - Names under `launch.kubernetes` are small letters, digits, `-` and `.`; sizes are quantities such as `64Gi`.
    - `launch.docker.base` is an image's name.

    ## Why it matters
    sbatch reads options from comments, where there is no quoting to rely on: the rest of such a value would be lost or be another option.
    Kubernetes refuses other names, when the job is sent and not before.

    ## Example
    ```yaml
    launch: {slurm: {partition: gpu long}}
    ```

    Use instead:
    ```yaml
    launch: {slurm: {partition: "gpu,long"}}
    ```
    """
    launch = resolved.spec.launch
    for section, values, pattern, message in (
        ("slurm", _SLURM, _PLAIN, "an option of sbatch has no white space, quotes, backslashes or `#`"),
        ("kubernetes", _KUBERNETES_NAMES, _LABEL, "a name in Kubernetes has small letters, digits, `-` and `.`"),
        ("kubernetes", _KUBERNETES_SIZES, _QUANTITY, "an amount in Kubernetes is a number with a unit such as Gi, or none"),
        ("docker", ("base",), _IMAGE, "an image is `name:tag`, perhaps with the registry before it"),
    ):
        settings = getattr(launch, section)
        for name in values if settings is not None else ():
            value = getattr(settings, name)
            if value is not None and pattern.fullmatch(value) is None:
                yield Finding(message, f"launch.{section}.{name}")
    for index, option in enumerate(launch.slurm.options if launch.slurm is not None else ()):
        if _PLAIN.fullmatch(option) is None:
            yield Finding("an option of sbatch has no white space, quotes, backslashes or `#`", f"launch.slurm.options[{index}]")
        elif not re.match(r"--[a-z]", option):
            path = f"launch.slurm.options[{index}]"
            yield Finding("an option of sbatch starts with `--`", path, help=("such as `--mail-type=END`",))


@rule("LS338", "setup-is-no-shell", since="0.1")
def setup_is_no_shell(resolved: Resolved) -> Iterator[Finding]:
    """Lines of shell that bash cannot read.

    ## What it checks
    `setup`, under `launch.slurm` and `launch.skypilot`, is a script that bash can parse, with one line in each item. Nothing of it is run.

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
    for name in ("slurm", "skypilot"):
        settings = getattr(resolved.spec.launch, name)
        lines: tuple[str, ...] = settings.setup if settings is not None else ()
        path = f"launch.{name}.setup"
        for index, line in enumerate(lines):
            if not line.isprintable():
                yield Finding(
                    "this is more than a line of printable text", f"{path}[{index}]", help=("give each line as an item of its own",)
                )
        error = _bash_error(lines)
        if error:
            yield Finding("bash cannot read these lines", path, error)


def _bash_error(lines: tuple[str, ...]) -> str:
    """What bash has to say against a script; nothing where there is no bash."""
    if not lines:
        return ""
    # Imported here because they cost a start that does without.
    import shutil
    import subprocess

    bash = shutil.which("bash")
    if bash is None:
        return ""
    finished = subprocess.run([bash, "-n"], input="".join(f"{line}\n" for line in lines), capture_output=True, text=True, check=False)
    return finished.stderr.strip().partition("\n")[0].partition(": ")[2]  # its first line, without the name of the program


@rule("LS339", "skypilot-would-lose-the-run", since="0.1")
def skypilot_would_lose_the_run(resolved: Resolved) -> Iterator[Finding]:
    """Machines that SkyPilot cannot rent, or that would take the checkpoints with them.

    ## What it checks
    SkyPilot has a name for the accelerator, or `launch.skypilot.accelerators` gives one. With `use_spot`, or several nodes, there is a
    `bucket` or a `volume` for checkpoints; with several nodes it is a `volume`, and only one of the two is given.

    ## Why it matters
    A machine that is taken away takes its disk along, and the run would begin anew on the next one. Several machines write one checkpoint
    together, which a bucket that each of them mounts for itself does not show them in time.

    ## Example
    ```yaml
    hardware: {accelerator: h100-sxm, price: spot}
    launch: {skypilot: {}}
    ```

    Use instead:
    ```yaml
    hardware: {accelerator: h100-sxm, price: spot}
    launch: {skypilot: {bucket: s3://my-bucket/my-run}}
    ```
    """
    skypilot, hardware = resolved.spec.launch.skypilot, resolved.spec.hardware
    if skypilot is None:
        return
    if skypilot.accelerators == "unknown":
        yield Finding(
            f"SkyPilot's catalog has no `{hardware.accelerator}`",
            "launch.skypilot",
            "",
            (fact(resolved, "hardware.accelerator"),),
            (f"where one of your clouds has it, give its name there: `accelerators: NAME:{hardware.accelerators_per_node}`",),
        )
    nodes = fact(resolved, "hardware.nodes")
    if skypilot.bucket is not None and skypilot.volume is not None:
        yield Finding("checkpoints go to a bucket or to a volume", "launch.skypilot.volume", help=("remove one of the two",))
    elif hardware.nodes > 1 and skypilot.volume is None:
        path = "launch.skypilot" if skypilot.bucket is None else "launch.skypilot.bucket"
        yield Finding("several machines need a volume that all of them mount", path, "", (nodes,), ("add `volume: NAME`",))
    elif skypilot.use_spot and skypilot.bucket is None and skypilot.volume is None:
        spot = fact(resolved, "launch.skypilot.use_spot")
        yield Finding("the checkpoints go when the machine goes", "launch.skypilot", "", (spot,), ("add `bucket: s3://NAME/PATH`",))

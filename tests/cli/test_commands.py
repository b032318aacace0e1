"""Exit codes, what goes to stdout and what to stderr, and what each command prints."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import ROOT, Run

QUICKSTART = "specs/quickstart.yaml"
FORMATS = ("full", "concise", "json", "github")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.yaml"
    path.write_text((ROOT / QUICKSTART).read_text().replace("num_layers: 6", "num_layrs: 6"))
    return path


def test_help_names_every_command(llmspec: Run) -> None:
    finished = llmspec("--help")
    assert finished.returncode == 0
    for name in ("validate", "estimate", "build", "compare", "ladder", "fit", "explain", "schema", "init", "presets", "completion"):
        assert name in finished.stdout
        assert llmspec(name, "--help").returncode == 0


def test_options_are_these(llmspec: Run) -> None:
    """A change of this table is a change for every user."""
    loss = {"--loss-data", "--unique-tokens", "--inference-tokens", "--loss-fit"}
    prices = {"--price", "--prices"}
    options = {
        "validate": {"--set", "--format"},
        "estimate": {
            "--set",
            "--what-if",
            "--explain",
            "--format",
            "--html",
            "--grid-data",
            "--calibrate",
            "--profile",
            "--diagnostics",
            *loss,
            *prices,
        },
        "search": {
            "--budget",
            "--deadline",
            "--loss",
            "--nodes",
            "--accelerators",
            "--provider",
            "--vary-size",
            "--vary-tokens",
            "--unbuilt",
            "--top",
            "--apply",
            "--set",
            "--profile",
            "--format",
            "--html",
            "--diagnostics",
            *loss,
            *prices,
        },
        "build": {"--output", "--plan", "--diff", "--check", "--set", "--format"},
        "compare": {"--output-dir", "--format", "--html", "--diagnostics"},
        "ladder": {"--sizes", "--tokens-per-parameter", "--output", "--set", "--diagnostics"},
        "fit": {"--output", "--name", "--format", "--diagnostics"},
        "explain": set(),
        "schema": set(),
        "init": {"--preset", "--accelerator", "--num-accelerators", "--data", "--max-tokens", "--name", "--output"},
        "presets": set(),
        "completion": set(),
    }
    from llmspec.cli.main import COMMANDS, cli

    assert set(options) == set(COMMANDS)
    for name, expected in options.items():
        command = cli.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        found = {opt for param in command.params for opt in param.opts if opt.startswith("--")}
        assert found == expected, name


def test_version(llmspec: Run) -> None:
    from llmspec import __version__

    assert llmspec("--version").stdout == f"llmspec {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["validate"],
        ["validate", QUICKSTART, "--format", "xml"],
        ["validate", QUICKSTART, "--frobnicate"],
        ["estimate", QUICKSTART, "--format", "full"],
        ["explain", "LS999"],
        ["completion", "tcsh"],
        ["presets", "gpt-2"],
        ["init"],
        ["init", "--preset", "gpt2", "--accelerator", "h100"],
    ],
    ids=" ".join,
)
def test_usage_errors(arguments: list[str], llmspec: Run, tmp_path: Path) -> None:
    arguments = [str(ROOT / argument) if argument == QUICKSTART else argument for argument in arguments]
    finished = llmspec(*arguments, cwd=tmp_path)
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert "Traceback" not in finished.stderr and finished.stderr.startswith("Usage: ")
    assert list(tmp_path.iterdir()) == []


def test_misspelt_command_is_named(llmspec: Run) -> None:
    assert "Did you mean 'validate'?" in llmspec("valdate", "x.yaml").stderr


def test_validate_clean(llmspec: Run) -> None:
    finished = llmspec("validate", QUICKSTART)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout == f"{QUICKSTART}: no problems\n"


@pytest.mark.parametrize("format", FORMATS)
def test_validate_problem(format: str, llmspec: Run, broken: Path) -> None:
    finished = llmspec("validate", broken.name, "--format", format, cwd=broken.parent)
    assert finished.returncode == 1
    text, silent = (finished.stderr, finished.stdout) if format == "full" else (finished.stdout, finished.stderr)
    assert silent in ("", "Found 1 error.\n")
    assert "LS101" in text and "num_layrs" in text and ("num_layers" in text or format == "concise")
    line = 1 + broken.read_text().splitlines().index("  num_layrs: 6")
    if format in ("full", "concise"):
        assert f"broken.yaml:{line}:3" in text
    if format == "json":
        found = json.loads(text)
        first = (found["diagnostics"] if isinstance(found, dict) else found)[0]
        assert first["code"] == "LS101"
    if format == "github":
        assert text.startswith("::error ") and f"line={line}" in text


def test_validate_missing_file(llmspec: Run, tmp_path: Path) -> None:
    finished = llmspec("validate", "nowhere.yaml", "--format", "concise", cwd=tmp_path)
    assert finished.returncode == 1
    assert finished.stdout.startswith("nowhere.yaml:1:1: LS001 ")


def test_estimate_json_has_the_documented_keys(llmspec: Run) -> None:
    finished = llmspec("estimate", QUICKSTART, "--format", "json")
    assert (finished.returncode, finished.stderr) == (0, "")
    estimate = json.loads(finished.stdout)
    for key in (
        "parameters.total",
        "parameters.active",
        "parameters.by_component",
        "flops.per_token",
        "flops.total",
        "memory.peak_gib",
        "memory.by_component",
        "time.step_seconds",
        "time.total_hours",
        "throughput.tokens_per_second",
        "throughput.tokens_per_second_per_device",
        "throughput.mfu",
        "cost.usd",
        "energy.kwh",
        "carbon.kg_co2e",
        "loss.expected",
    ):
        value = estimate
        for name in key.split("."):
            value = value[name]
        assert isinstance(value, dict) or value > 0, key


def test_estimate_table_and_derivation(llmspec: Run) -> None:
    table = llmspec("estimate", QUICKSTART)
    explained = llmspec("estimate", QUICKSTART, "--explain")
    assert table.returncode == explained.returncode == 0
    assert "3,148,224" in table.stdout or "3.15" in table.stdout
    assert len(explained.stdout) > 2 * len(table.stdout)


def test_estimate_problems_keep_stdout_clean(llmspec: Run, broken: Path) -> None:
    finished = llmspec("estimate", broken, "--format", "json", "--diagnostics", "concise")
    assert finished.returncode == 1
    assert finished.stdout == "" and "LS101" in finished.stderr


def test_overrides(llmspec: Run) -> None:
    small = llmspec("estimate", QUICKSTART, "--format", "json", "--set", "architecture.num_layers=1", "--set", "training.max_steps=100")
    assert json.loads(small.stdout)["parameters"]["total"] < 2_000_000
    wrong = llmspec("validate", QUICKSTART, "--set", "training.max_step=10")
    assert wrong.returncode == 1 and "--set:1:10" in wrong.stderr and "max_steps" in wrong.stderr


def test_build_and_rebuild(llmspec: Run, tmp_path: Path) -> None:
    spec = tmp_path / "run.yaml"
    spec.write_text((ROOT / QUICKSTART).read_text())
    first = llmspec("build", "run.yaml", cwd=tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    project = tmp_path / "generated" / "quickstart"
    count = sum(path.is_file() and ".llmspec" not in path.parts for path in project.rglob("*"))
    assert first.stdout.startswith(f"Compiled run.yaml -> generated/quickstart ({count} files) in ")
    assert len(first.stdout.splitlines()) == 1
    assert os.access(project / "launch" / "local.sh", os.X_OK)

    assert llmspec("build", "run.yaml", "--check", cwd=tmp_path).returncode == 0
    assert "nothing to do" in llmspec("build", "run.yaml", cwd=tmp_path).stdout

    spec.write_text(re.sub(r"max_steps: \d+", "max_steps: 77", spec.read_text()))
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    drift = llmspec("build", "run.yaml", "--check", cwd=tmp_path)
    assert drift.returncode == 1 and "config.py" in drift.stdout
    plan = llmspec("build", "run.yaml", "--plan", cwd=tmp_path)
    assert plan.returncode == 0 and "~ config.py" in plan.stdout and "unchanged" in plan.stdout
    diff = llmspec("build", "run.yaml", "--diff", cwd=tmp_path)
    assert diff.returncode == 0 and "+    max_steps: int = 77" in diff.stdout
    assert before == {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}

    (project / "train.py").write_text((project / "train.py").read_text() + "\n# mine\n")
    rebuilt = llmspec("build", "run.yaml", cwd=tmp_path)
    assert rebuilt.returncode == 0
    assert "max_steps: int = 77" in (project / "config.py").read_text()
    assert (project / "train.py").read_text().endswith("# mine\n")


def test_build_refuses_a_directory_of_others(llmspec: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for output in ("mine", "file"):
        finished = llmspec("build", ROOT / QUICKSTART, "-o", output, "--format", "concise", cwd=tmp_path)
        assert finished.returncode == 1
        assert " LS50" in finished.stderr or " LS50" in finished.stdout
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "mine", "notes.txt"]


def test_explain_code_name_and_field(llmspec: Run) -> None:
    by_code, by_name = llmspec("explain", "ls101"), llmspec("explain", "unknown-field")
    assert by_code.returncode == 0
    assert by_code.stdout == by_name.stdout
    assert by_code.stdout.startswith("unknown-field (LS101)\n") and "## What it checks" in by_code.stdout
    field = llmspec("explain", "training.micro_batch_size").stdout
    assert "Sequences in one forward pass on one device" in field and "16,777,216" in field
    assert llmspec("explain", "micro_batch_size").stdout == field
    assert "architecture.attention.num_heads" in llmspec("explain", "n_head").stdout
    assert "data.sources.path" in llmspec("explain", "data.sources[0].path").stdout
    assert "`num_kv_heads`" in llmspec("explain", "num_kv_head").stderr


def test_explain_knows_every_code_and_field(llmspec: Run) -> None:
    from click.testing import CliRunner

    from llmspec.check import documentation
    from llmspec.cli.explain import command
    from llmspec.cli.fields import all_fields

    runner = CliRunner()
    for name in [*(page.code for page in documentation()), *{field.path for field in all_fields()}]:
        result = runner.invoke(command, [name])
        assert result.exit_code == 0 and len(result.output) > 40, name


def test_schema_accepts_every_spec_and_refuses_slips(llmspec: Run) -> None:
    schema = json.loads(llmspec("schema").stdout)
    assert schema["properties"]["training"] and schema["$defs"]["Training"]["properties"]["micro_batch_size"]["description"]
    assert (ROOT / "specs" / "llmspec.schema.json").read_text() == llmspec("schema").stdout, "run `make golden`"
    assert "2B" not in json.dumps(schema["required"]) if "required" in schema else True
    assert yaml.safe_load((ROOT / QUICKSTART).read_text()).keys() <= schema["properties"].keys()


def test_presets(llmspec: Run) -> None:
    listed = llmspec("presets").stdout
    assert "llama-3.2-1b " in listed and "124,439,808" in listed
    assert "hidden_size: 2048" in llmspec("presets", "llama-3.2-1b").stdout
    assert "`gpt2`" in llmspec("presets", "gpt-2").stderr


@pytest.mark.parametrize("data", [None, "corpus/*.jsonl.gz", 'we"ird: #{}.parquet'])
@pytest.mark.parametrize(("preset", "accelerator", "number"), [("gpt2", "cpu", 1), ("llama-3.2-1b", "h100-sxm", 16), ("none", "cpu", 1)])
def test_init_writes_a_spec_that_validates(
    preset: str, accelerator: str, number: int, data: str | None, llmspec: Run, tmp_path: Path
) -> None:
    arguments = ["--preset", preset, "--accelerator", accelerator, "--num-accelerators", str(number), "--output", "run.yaml"]
    arguments += [] if data is None else ["--data", data]
    finished = llmspec("init", *arguments, cwd=tmp_path)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout == "Wrote run.yaml. Next: llmspec validate run.yaml\n"
    text = (tmp_path / "run.yaml").read_text()
    assert text.count("# ") > 8
    checked = llmspec("validate", "run.yaml", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    again = llmspec("init", *arguments, cwd=tmp_path)
    assert again.returncode == 2 and "is there already" in again.stderr
    assert (tmp_path / "run.yaml").read_text() == text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, llmspec: Run) -> None:
    finished = llmspec("completion", shell)
    assert finished.returncode == 0 and "_LLMSPEC_COMPLETE" in finished.stdout


def test_completion(llmspec: Run) -> None:
    def complete(*words: str) -> list[str]:
        variables = {"_LLMSPEC_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
        return [line.partition(",")[2] for line in llmspec(**variables).stdout.splitlines()]

    assert complete("llmspec", "es") == ["estimate"]
    assert complete("llmspec", "explain", "LS10") == [f"LS10{digit}" for digit in range(1, 10)]
    assert "training.micro_batch_size" in complete("llmspec", "explain", "training.mi")
    assert complete("llmspec", "init", "--preset", "llama-3.2") == ["llama-3.2-1b", "llama-3.2-3b"]
    assert "h100-sxm" in complete("llmspec", "init", "--accelerator", "h100")
    assert "--explain" in complete("llmspec", "estimate", "--ex")


def test_colour_only_where_wanted(llmspec: Run, broken: Path) -> None:
    """No escape codes in a pipe; on a terminal colour, and none with NO_COLOR."""
    assert "\x1b" not in llmspec("validate", broken).stderr
    import pty

    def on_terminal(**variables: str) -> str:
        leader, follower = pty.openpty()
        environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "CI", "TERM")}
        process = subprocess.Popen(
            [sys.executable, "-m", "llmspec", "validate", str(broken)],
            stdout=follower,
            stderr=follower,
            cwd=ROOT,
            env={**environment, "TERM": "xterm-256color", **variables},
        )
        process.wait()
        os.close(follower)
        text = b""
        try:
            while chunk := os.read(leader, 65536):
                text += chunk
        except OSError:
            pass  # the other side is closed: all is read
        os.close(leader)
        return text.decode()

    assert "\x1b[" in on_terminal()
    assert "\x1b[" not in on_terminal(NO_COLOR="1")


def test_broken_pipe_is_quiet() -> None:
    finished = subprocess.run(
        f"{sys.executable} -m llmspec schema | head -1", shell=True, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert finished.stdout == "{\n" and finished.stderr == ""


def test_interrupt_is_130(tmp_path: Path) -> None:
    """Ctrl-C while reading the spec, which here comes from a pipe that nobody writes to."""
    pipe = tmp_path / "spec.yaml"
    os.mkfifo(pipe)
    process = subprocess.Popen([sys.executable, "-m", "llmspec", "validate", pipe], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    writer = os.open(pipe, os.O_WRONLY)  # returns when the command has opened it too, and waits for a line
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    os.close(writer)
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_a_bug_is_a_short_page(llmspec: Run, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import llmspec.compile\ndef broken(*a, **k):\n    raise KeyError('secret')\nllmspec.compile.analyze = broken\n"
    )
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    finished = llmspec("validate", QUICKSTART, PYTHONPATH=path)
    assert finished.returncode == 70
    assert "LS900" in finished.stderr and "KeyError" in finished.stderr and "LLMSPEC_TRACEBACK" in finished.stderr
    assert "Traceback" not in finished.stderr and len(finished.stderr.splitlines()) < 8
    assert "Traceback" in llmspec("validate", QUICKSTART, PYTHONPATH=path, LLMSPEC_TRACEBACK="1").stderr

"""A spec's text stays text: whatever stands in it, the emitted files are sound and nothing of it is ever run."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llmspec.diagnostics import CompilationError
from llmspec.emit import Project
from tests.emit.conftest import SMALL, Compiler, changed

MARKER = "MARKER_WAS_RUN"
# Each of these, if it were code in some file, would create the file MARKER in the working directory.
PYTHON = f"__import__('pathlib').Path('{MARKER}').touch()"
SHELL = f"touch {MARKER}"
ATTACKS = [
    f'"; {PYTHON} #',
    f"'; {PYTHON} #",
    f'"""\n{PYTHON}\n"""',
    f"'''\n{PYTHON}\n'''",
    f"\n{PYTHON}\n",
    f"\\\n{PYTHON}",
    f"\\'; {PYTHON} #",
    f"${{IFS}}$({SHELL})",
    f"`{SHELL}`",
    f"'; {SHELL}; '",
    f'"; {SHELL}; "',
    f"{{{{ {PYTHON} }}}}",
    f"{{% for x in [1] %}}{PYTHON}{{% endfor %}}",
    "{{ plan.__class__.__mro__ }}",
    "#: include 'project/train.py.jinja'",
    "\n#: if true\n#: endif\n",
    "{## comment ##}",
    f"{{{PYTHON}}}",
    "</td><script>alert(1)</script>",
    "```\n```bash\nrm -rf ~\n```",
    "key: [value, *alias",
    "%s %d %(name)s {0} {name}",
    "C:\\new\\table\\x41\\u0041\\N{DASH}",
    "na\u00efve \u2018quotes\u2019 \u202e rtl \U0001f600 \u2028 \u0085 \ufeff",
    "\\",
    '"""',
    "'",
    "#",
    " leading and trailing ",
    "-n",
    "--help",
    "~/*",
    "!!python/object/apply:os.system [ls]",
]
TEXT_FIELDS = [
    "description",
    "data.sources.0.path",
    "data.sources.0.text_field",
    "tokenizer.path",
    "tokenizer.bos_token",
    "tokenizer.eos_token",
    "generation.prompts.0",
    "logging.wandb.project",
    "logging.wandb.entity",
    "logging.wandb.name",
    "logging.mlflow.experiment",
    "logging.mlflow.tracking_uri",
    "launch.environment.A",
    "launch.slurm.modules.0",
    "launch.slurm.container.image",
    "launch.slurm.container.mounts.0",
]
BASE = changed(
    SMALL,
    {
        "description": "text",
        "architecture.vocab_size": 1024,
        "tokenizer": {"kind": "pretrained", "path": "t.json", "vocab_size": 1000, "add_bos": True, "bos_token": "<s>", "eos_token": "</s>"},
        "data.sources": [{"name": "a", "kind": "jsonl", "path": "a.jsonl", "text_field": "text"}],
        "generation": {"prompts": ["text"]},
        "logging": {"wandb": {"project": "text"}, "mlflow": {"experiment": "text"}},
        "launch": {
            "local": {},
            "torchrun": {},
            "slurm": {"modules": ["text"], "container": {"kind": "pyxis", "image": "text", "mounts": ["text"]}},
            "environment": {"A": "text"},
        },
    },
)
TEXTS = st.one_of(
    st.text(min_size=1, max_size=40),
    st.lists(
        st.sampled_from(["'", '"', "\\", "\n", "\r", "{{", "}}", "${", "}", "`", "#:", "{##", '"""', "'''", " ", "a", "$(", ")"]),
        min_size=1,
    ).map("".join),
)


def everywhere(text: str) -> dict[str, Any]:
    """The base spec with a text in every field that takes any text."""
    texts = dict.fromkeys(TEXT_FIELDS, text)
    texts["tokenizer.path"] = f"{text}.json"  # the file of a tokenizer is known by its ending
    texts["launch.environment.A"] = text.replace("\n", " ").replace("\r", " ")  # a variable has one line
    return changed(BASE, texts)


def run_config(project: Project, directory: Path) -> dict[str, Any]:
    """Run the emitted config.py, which holds the spec's texts as literals, and give what it defines."""
    namespace: dict[str, Any] = {"__name__": "config"}
    before = Path.cwd()
    os.chdir(directory)
    try:
        exec(compile(project["config.py"].text, "config.py", "exec"), namespace)
    finally:
        os.chdir(before)
    return namespace


def check_project(compiler: Compiler, text: str, directory: Path) -> bool:
    """Whether a spec with this text is accepted; if so, all that was emitted must be sound."""
    try:
        project = compiler.render(everywhere(text))  # formats, compiles and parses every file
    except CompilationError:
        return False
    namespace = run_config(project, directory)
    assert namespace["GenerationConfig"]().prompts == (text,)
    assert namespace["DataConfig"]().sources[0].text_field == text
    assert not (directory / MARKER).exists()
    return True


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_attacks(attack: str, compiler: Compiler, tmp_path: Path) -> None:
    check_project(compiler, attack, tmp_path)


def test_most_attacks_reach_the_emitted_files(compiler: Compiler, tmp_path: Path) -> None:
    """The test above is empty if such texts are refused."""
    assert sum(check_project(compiler, attack, tmp_path) for attack in ATTACKS) > len(ATTACKS) * 3 // 4


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS)
@example("\x00")
@example("\x85\u2028")
def test_any_text(compiler: Compiler, tmp_path: Path, text: str) -> None:
    check_project(compiler, text, tmp_path)


def test_modules_and_scripts_do_not_run_it(compiler: Compiler, tmp_path: Path) -> None:
    """Every module is imported as far as it goes without torch, every script read by bash and shellcheck."""
    text = f"'; {SHELL}; '\"; {SHELL}; \"$({SHELL})`{SHELL}`"
    project = compiler.render(everywhere(text))
    for path, file in project.items():
        place = tmp_path / "project" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(file.text, "utf-8")
        if path.startswith("launch/"):
            subprocess.run(["bash", "-n", place], check=True)
            subprocess.run([Path(sys.executable).with_name("shellcheck"), place], check=True)
    # `python` stands in for the interpreter: the scripts then only print what they would start.
    for script in ("local.sh", "torchrun.sh"):
        finished = subprocess.run(
            ["bash", tmp_path / "project" / "launch" / script, text], env={**os.environ, "PYTHON": "echo"}, capture_output=True, text=True
        )
        assert finished.returncode == 0, finished.stderr
        assert text in finished.stdout
    assert not list(tmp_path.rglob(MARKER))

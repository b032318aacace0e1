"""What a run tells of itself: data wait, energy."""

import gzip
import json
import os
import subprocess
import sys

import pytest

from tests.training.conftest import Build


def test_no_step_waits_for_data(build: Build) -> None:
    """At a size where a step takes as long as a small step on an accelerator: about a tenth of a second."""
    project = build(
        architecture__hidden_size=128,
        training__sequence_length=128,
        training__global_batch_size=16,
        training__micro_batch_size=8,
        logging__every=5,
    )
    project.train()
    waits = [line["data_wait"] for line in project.metrics()[1:]]
    assert 0 < min(waits) and sorted(waits)[len(waits) // 2] < 0.01

    command = [sys.executable, "-m", "llmspec", "compare", str(project.path), "--format", "json"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": "."}).stdout)
    last = project.metrics()[-1]
    assert found["finished"] and found["data_wait"] < 0.01
    assert found["figures"]["energy_kwh"]["measured"] == last["energy_kwh"]
    assert found["figures"]["total_hours"]["measured"] == last["seconds"] / 3600
    assert found["figures"]["loss"]["measured"] == last["validation_loss"]
    assert found["figures"]["mfu"]["inside"] is not None


def test_energy_is_counted_on_when_a_run_is_resumed(build: Build) -> None:
    project = build(hardware__accelerators_per_node=2)
    project.train("run", "--max-steps", "10", processes=2)
    before = project.metrics()[-1]["energy_kwh"]
    output = project.train("run", "--resume", processes=2).stdout
    used = [line["energy_kwh"] for line in project.metrics()]
    assert used == sorted(used) and 0 < used[0] < used[9] == before < used[10]
    assert "kWh est." in output or project.metrics()[-1]["energy_source"] == "rapl"


def test_trackers_and_profiler(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights & Biases offline and MLflow's files, over two processes and a resumed run."""
    mlflow = pytest.importorskip("mlflow")
    project = build(
        logging__wandb={"project": "tests", "mode": "offline"},
        logging__mlflow={"experiment": "tests"},
        logging__profiler={"start": 2, "steps": 2},
        hardware__accelerators_per_node=2,
    )
    first = project.train("run", "--max-steps", "10", processes=2).stdout
    assert "operation" in first and "aten::" in first and "traced 2 steps: run/profile" in first
    project.train("run", "--resume", processes=2)
    run = project.path / "run"
    assert len({path.name.rpartition("-")[2] for path in run.glob("wandb/offline-run-*")}) == 1
    assert (run / "wandb-id").read_text() in next(run.glob("wandb/offline-run-*")).name
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = mlflow.MlflowClient((run / "mlflow").as_uri())
    id = (run / "mlflow-id").read_text()
    assert len(client.search_runs([client.get_experiment_by_name("tests").experiment_id])) == 1
    history = {metric.step: metric.value for metric in client.get_metric_history(id, "loss")}
    assert history == {line["step"]: line["loss"] for line in project.metrics()}
    assert client.get_run(id).data.params["TrainingConfig.max_steps"] == "20"
    for rank in (0, 1):
        trace = json.loads(gzip.decompress((run / f"profile/rank-{rank}.json.gz").read_bytes()))
        steps = {event["name"] for event in trace["traceEvents"] if event.get("name", "").startswith("ProfilerStep")}
        assert steps == {"ProfilerStep#1", "ProfilerStep#2"}


def test_trackers_that_fail_do_not_end_the_run(build: Build) -> None:
    """Nobody listens at the MLflow address, and the place of the Weights & Biases files cannot be written."""
    project = build(
        logging__wandb={"project": "tests", "mode": "offline"},
        logging__mlflow={"experiment": "tests", "tracking_uri": "http://127.0.0.1:9"},
        training__max_steps=6,
    )
    (project.path / "run").mkdir()
    (project.path / "run/wandb-id").mkdir()
    output = project.train().stdout
    assert output.count("MLflow fails, the run goes on without it") == 1
    assert output.count("Weights & Biases fails, the run goes on without it") == 1
    assert len(project.metrics()) == 6


def test_out_of_memory_says_what_to_change(build: Build) -> None:
    """PyTorch's error for a full GPU, raised where a GPU would raise it; here the run is on a CPU."""
    project = build(hardware__accelerator="h100-sxm", training__compile=False, precision="fp32")
    model = project.path / "model.py"
    forward = "    def forward(self,"
    place = model.read_text().rindex(forward)
    body = model.read_text().index('"""', model.read_text().index('"""', place) + 3) + 4
    error = '        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")\n'
    model.write_text(model.read_text()[:body] + error + model.read_text()[body:])
    done = project.train(check=False)
    assert done.returncode == 1
    assert "out of memory: CUDA out of memory. Tried to allocate 2.00 GiB.\n  in forward, model.py:" in done.stderr
    assert "`micro_batch_size` 1 instead of 2" in done.stderr
    assert "`parallelism.activation_checkpointing: selective` in the spec" in done.stderr
    assert "Traceback" not in done.stderr

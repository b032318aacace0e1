"""What a run tells of itself: data wait, energy."""

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


def test_energy_is_counted_on_when_a_run_is_resumed(build: Build) -> None:
    project = build(hardware__accelerators_per_node=2)
    project.train("run", "--max-steps", "10", processes=2)
    before = project.metrics()[-1]["energy_kwh"]
    output = project.train("run", "--resume", processes=2).stdout
    used = [line["energy_kwh"] for line in project.metrics()]
    assert used == sorted(used) and 0 < used[0] < used[9] == before < used[10]
    assert "kWh est." in output or project.metrics()[-1]["energy_source"] == "rapl"

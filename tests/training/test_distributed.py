"""Several processes do what one does."""

import pytest

from tests.training.conftest import Build


def test_two_processes_equal_one_and_resume_as_one(build: Build) -> None:
    project = build(hardware__accelerators_per_node=2)
    project.train("one")
    done = project.train("two", "--max-steps", "10", processes=2)
    assert "global batch  8 = micro 2 x data parallel 2 x accumulation 2" in done.stdout
    assert done.stdout.count("step 10/10") == 1
    assert project.losses("two") == pytest.approx(project.losses("one")[:10], abs=5e-6)
    # The checkpoint of two processes goes on in one: the same samples in the same order.
    project.train("two", "--resume")
    assert project.losses("two") == pytest.approx(project.losses("one"), abs=5e-6)


@pytest.mark.slow
def test_more_processes_than_planned(build: Build) -> None:
    project = build(hardware__accelerators_per_node=2, training__micro_batch_size=4)
    project.train("one", "--max-steps", "5")
    done = project.train("eight", "--max-steps", "5", processes=8)
    assert "global batch  8 = micro 1 x data parallel 8 x accumulation 1" in done.stdout
    assert project.losses("eight") == pytest.approx(project.losses("one"), abs=5e-6)
    done = project.train("three", processes=3, check=False)
    assert done.returncode != 0
    assert "`global_batch_size` 8 does not divide by 3 processes" in done.stderr


@pytest.mark.slow
def test_distributed_with_everything(build: Build) -> None:
    project = build(
        hardware__accelerator="h100-sxm",
        hardware__accelerators_per_node=2,
        training__compile=False,
        precision="bf16",
        parallelism__activation_checkpointing="selective",
        architecture__dropout=0.1,
        logging__tensorboard=True,
    )
    project.train("run", processes=2)
    losses = project.losses()
    assert losses[-1] < losses[0] - 1


def test_one_device_has_no_trace_of_several(build: Build) -> None:
    project = build()
    assert not (project.path / "parallelize.py").exists()
    for file in project.path.glob("*.py"):
        # checkpoint.py reads what several processes have written.
        text = file.read_text().replace("torch.distributed.checkpoint", "").replace("torch.distributed is disabled", "")
        assert "torch.distributed" not in text, file


@pytest.mark.slow
def test_compiled_shards_equal_one_process(build: Build) -> None:
    build(training__micro_batch_size=4).train("one", "--max-steps", "5")
    changes = {"parallelism__data": "fsdp", "parallelism__activation_checkpointing": "selective", "training__compile": True}
    project = build(hardware__accelerators_per_node=2, training__micro_batch_size=4, **changes)
    project.train("two", "--max-steps", "5", processes=2)
    assert project.losses("two") == pytest.approx(project.losses("one"), abs=5e-6)


@pytest.mark.slow
def test_processes_that_do_not_divide_into_groups_of_shards(build: Build) -> None:
    batch = {"training__global_batch_size": 12, "training__micro_batch_size": 1}
    project = build(hardware__accelerators_per_node=4, parallelism__data="hsdp", parallelism__shard_size=2, **batch)
    done = project.train("three", processes=3, check=False)
    assert done.returncode != 0
    assert "3 processes do not divide into groups of `shard_size` 2" in done.stderr
    project.train("one", "--max-steps", "1")
    assert len(project.losses("one")) == 1

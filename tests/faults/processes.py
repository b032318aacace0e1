"""Runs of an emitted project in processes that are forked, so that torch is imported once, and killed.

    python processes.py PROJECT_DIRECTORY JSON

Started beside the tests, in an interpreter of its own. Reads what to do from the JSON, see `main`, and prints what has come of it.
"""

import itertools
import json
import os
import random
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

PROJECT = Path(sys.argv[1])
sys.path.insert(0, str(PROJECT))
os.chdir(PROJECT)

import train  # noqa: E402  it is the project's


class Recorded:
    """The training data, and a note of each sample that is read, with the step that it is read for."""

    def __init__(self, data: Any, step: int, notes: Path) -> None:
        self.data, self.step, self.notes = data, step, notes

    def batch(self, first_sample: int, num_samples: int) -> Any:
        with self.notes.open("a") as file:
            file.write(f"{self.step} {first_sample} {num_samples}\n")
        return self.data.batch(first_sample, num_samples)


def start(arguments: list[str], output: Path, notes: Path, world_size: int) -> list[int]:
    """Fork the processes of a run; returns their ids."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [_fork(arguments, output, notes, world_size, rank, port) for rank in range(world_size)]


def _fork(arguments: list[str], output: Path, notes: Path, world_size: int, rank: int, port: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        with output.with_suffix(".log").open("a") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        if world_size > 1:
            names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            os.environ.update({name: str(value) for name, value in names.items()})
        fetch = train.fetch
        train.fetch = lambda data, step, *rest: fetch(Recorded(data, step, notes), step, *rest)
        status = train.main(arguments)
    except SystemExit as end:
        print(end.code)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def wait(pids: list[int], seconds: float) -> list[int]:
    """Wait for processes; returns their exit statuses, and kills what is too slow (-9)."""
    statuses, deadline = [], time.monotonic() + seconds
    for pid in pids:
        while True:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                statuses.append(os.waitstatus_to_exitcode(status))
                break
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.002)
    return statuses


def num_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def first_step(output: Path) -> int:
    """Where the run would go on."""
    steps = [int(path.name.removeprefix("step-")) for path in output.glob("checkpoints/step-*")]
    return max(steps, default=0)


def killed_run(task: dict[str, Any]) -> dict[str, Any]:
    """Kill a run again and again, at random steps and in the middle of saves, and resume it until its end."""
    chance = random.Random(task["seed"])
    output, world_size, num_steps = Path(task["output"]), task["world_size"], task["num_steps"]
    history: list[list[str]] = []
    kills, in_a_save, slowest = 0, 0, 0.0
    for attempt in itertools.count():
        notes = output.with_name(f"{output.name}-{attempt}.notes")
        begun = first_step(output)
        pids = start([*task["arguments"], "--resume"], output, notes, world_size)
        if kills < task["kills"]:
            # Every second time as soon as a save has begun; else some milliseconds after some step.
            saving = kills % 2 == 1
            goal = begun + chance.randint(1, max(1, 2 * num_steps // task["kills"]))
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                if num_lines(output / "metrics.jsonl") >= min(goal, num_steps - 3):
                    if not saving:
                        break
                    if any(output.glob("checkpoints/partial-*")):
                        break
                time.sleep(0.0005)
            time.sleep(chance.random() * (0.004 if saving else 0.03))
            victims = pids if chance.random() < 0.5 else [chance.choice(pids)]
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            for pid in set(pids) - set(victims):
                os.kill(pid, signal.SIGTERM)  # as torchrun does
            killed_at = time.monotonic()
            statuses = wait(pids, 60)
            slowest = max(slowest, time.monotonic() - killed_at)
            kills += -signal.SIGKILL in statuses
            in_a_save += any(output.glob("checkpoints/partial-*"))
        else:
            statuses = wait(pids, 120)
        reached = first_step(output)
        lines = notes.read_text().splitlines() if notes.exists() else []
        history.append([line for line in lines if begun < int(line.split()[0]) <= reached])
        if all(status == 0 for status in statuses):
            break
        if attempt > 3 * task["kills"] + 3:
            raise RuntimeError(f"does not come to its end: {statuses}")
    samples = [list(map(int, line.split())) for part in history for line in part]
    return {"kills": kills, "in_a_save": in_a_save, "slowest": slowest, "attempts": len(history), "samples": samples}


def plain_run(task: dict[str, Any]) -> dict[str, Any]:
    """One run to its end."""
    output = Path(task["output"])
    pids = start(task["arguments"], output, output.with_suffix(".notes"), task["world_size"])
    return {"statuses": wait(pids, 120)}


def main() -> None:
    """Do the tasks in order: each has a `kind`, `output`, `arguments` and `world_size`."""
    kinds = {"killed": killed_run, "plain": plain_run}
    tasks = json.loads(sys.argv[2])
    for task in tasks:
        where = ["--device", "cpu", "--data-dir", task["data"], "--output-dir", task["output"]]
        task["arguments"] = [*where, *task.get("arguments", ())]
    print(json.dumps([kinds[task["kind"]](task) for task in tasks]))


if __name__ == "__main__":
    main()

"""tokenizer.py, run for real: trained on training documents only, evenly over the sources, the same every time."""

from pathlib import Path
from typing import Any

import pytest

from tests.data.projects import build
from tests.data.texts import TEXTS, json_lines, many_texts

JSON = {"name": "json", "kind": "jsonl", "path": "a.jsonl"}
ROUND_TRIP = f"""
from pathlib import Path
from tokenizer import load_tokenizer
tokenizer = load_tokenizer(Path("data"))
for text in {TEXTS!r}:
    assert tokenizer.decode(tokenizer.encode(text)) == text, text
print(tokenizer.vocab_size, tokenizer.bos_id, tokenizer.eos_id)
"""


def bpe(vocab_size: int = 700, **fields: Any) -> dict[str, Any]:
    return {"kind": "bpe", "vocab_size": vocab_size, **fields}


@pytest.mark.parametrize(
    ("tokenizer", "ids"),
    [
        (bpe(), "700 None 1"),
        (bpe(add_bos=True), "700 1 2"),
        ({**bpe(420), "kind": "unigram", "add_bos": True, "add_eos": False}, "420 1 None"),
        ({"kind": "char", "vocab_size": 143, "add_bos": True}, "143 1 2"),
        ({"kind": "byte", "add_bos": True}, "258 256 257"),
        ({"kind": "pretrained", "path": "tokenizer.json", "vocab_size": 512, "eos_token": "<|end|>"}, "400 None 0"),
        ({"kind": "pretrained", "path": "tokenizer.model", "vocab_size": 512, "add_bos": True}, "450 1 2"),
    ],
    ids=["bpe", "bpe with bos", "unigram", "char", "byte", "json", "model"],
)
def test_prepares_and_gives_text_back(tmp_path: Path, pretrained: Path, tokenizer: dict[str, Any], ids: str) -> None:
    for file in pretrained.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "a.jsonl").write_text(json_lines(many_texts(60)), "utf-8")
    project = build(tmp_path, [JSON], tokenizer, validation_fraction=0.2)
    first = project.run("tokenizer.py")
    assert "training again" not in project.run("tokenizer.py")
    assert "bytes per token" in project.run("prepare_data.py", "--workers", "1")
    if tokenizer["kind"] == "char":
        assert "bytes per token" in first
    code = ROUND_TRIP
    if tokenizer.get("path") == "tokenizer.model":
        code = code.replace("\u2581", "")  # which a foreign sentencepiece model cannot tell from a space
    assert project.evaluate(code).strip() == ids


def test_training_is_the_same_every_time_and_skipped_when_done(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json_lines(many_texts(100)), "utf-8")
    project = build(tmp_path, [JSON], bpe())
    assert "bytes per token" in project.run("tokenizer.py")
    model = project.directory / "data/tokenizer/tokenizer.model"
    first = model.read_bytes()
    project.run("tokenizer.py", "--data-dir", "other")
    assert (project.directory / "other/tokenizer/tokenizer.model").read_bytes() == first
    assert "done before" in project.run("tokenizer.py")
    project = build(tmp_path, [JSON], bpe(split_digits=False))
    assert "the settings have changed" in project.run("tokenizer.py")
    assert model.read_bytes() != first


def test_validation_documents_are_not_trained_on(tmp_path: Path) -> None:
    texts = [f"{number} {chr(0x4E00 + number)}" for number in range(400)]
    (tmp_path / "a.jsonl").write_text(json_lines(texts), "utf-8")
    project = build(tmp_path, [JSON], {"kind": "char", "vocab_size": 100}, validation_fraction=0.5)
    code = "from tokenizer import count_characters; from config import DataConfig; print(''.join(count_characters(DataConfig())))"
    seen = set(project.evaluate(code))
    held_out = {text[-1] for text in texts if text[-1] not in seen}
    assert 120 < len(held_out) < 280
    code = "from config import *; from tokenizer import train, training_texts; print(*training_texts(DataConfig(), 10**6))"
    sampled = set(build(tmp_path, [JSON], bpe(), validation_fraction=0.5).evaluate(code))
    assert {text[-1] for text in texts if text[-1] not in sampled} == held_out


def test_the_training_text_is_taken_evenly(tmp_path: Path) -> None:
    for name, count in (("small", 40), ("large", 9000), ("huge", 12_000)):
        texts = [f"{name} {text}" for text in many_texts(count)]
        (tmp_path / f"{name}.jsonl").write_text(json_lines(texts), "utf-8")
    sources = [{"name": name, "kind": "jsonl", "path": f"{name}.jsonl"} for name in ("huge", "small", "large")]
    project = build(tmp_path, sources, bpe())
    code = """
from collections import Counter
from config import DataConfig
from tokenizer import training_texts
taken, last = Counter(), {}
for text in training_texts(DataConfig(), 3_000_000):
    name, number, _ = text.split(" ", 2)
    taken[name] += len(text.encode())
    last[name] = int(number.rstrip(":"))
print(*(f"{name} {taken[name]} {last[name]}" for name in ("small", "large", "huge")), sep=";")
"""
    rows = [row.split() for row in project.evaluate(code).strip().split(";")]
    (small, large, huge), last = ([int(row[1]) for row in rows], [int(row[2]) for row in rows])
    assert small < 60_000
    assert last[0] == 39
    assert abs(large - huge) < 20_000
    assert abs(small + large + huge - 3_000_000) < 20_000
    assert last[1] > 7000 and last[2] > 10_000, "taken from the whole of a source, not from its start"


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        (bpe(60_000), "tokenizer.vocab_size is 60,000, but the training text gives at most"),
        ({**bpe(60_000), "kind": "unigram"}, "tokenizer.vocab_size is 60,000, but the training text gives at most"),
        (bpe(50), "tokenizer.vocab_size is 50, but the characters of the training text take"),
        ({"kind": "char", "vocab_size": 5000}, "tokenizer.vocab_size is 5,000, but the training text has"),
        ({"kind": "pretrained", "path": "no.json", "vocab_size": 512, "eos_token": "<|end|>"}, "No such file"),
        ({"kind": "pretrained", "path": "a.jsonl", "vocab_size": 512, "eos_token": "<|end|>"}, "tokenizer.py: "),
        ({"kind": "pretrained", "path": "tokenizer.json", "vocab_size": 512, "eos_token": "</s>"}, "tokenizer.eos_token is '</s>'"),
        ({"kind": "pretrained", "path": "tokenizer.json", "vocab_size": 512}, "tokenizer.eos_token is needed"),
        ({"kind": "pretrained", "path": "tokenizer.json", "vocab_size": 99, "eos_token": "<|end|>"}, "tokenizer.vocab_size is 99"),
        ({"kind": "pretrained", "path": "tokenizer.model", "vocab_size": 99}, "tokenizer.vocab_size is 99"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, pretrained: Path, tokenizer: dict[str, Any], message: str) -> None:
    for file in pretrained.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "a.jsonl").write_text(json_lines(many_texts(40)), "utf-8")
    project = build(tmp_path, [JSON], tokenizer)
    output = project.run("tokenizer.py", fails=True)
    assert output.splitlines()[-1].startswith("tokenizer.py: ")
    assert message in output
    if tokenizer["kind"] != "pretrained":
        assert "run `python tokenizer.py` first" in project.run("prepare_data.py", fails=True)

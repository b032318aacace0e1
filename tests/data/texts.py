"""Text in several scripts, written for these tests, and files that hold it."""

import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path

import zstandard

TEXTS = (
    "The river runs past the old mill, and the miller's cat sleeps on a warm stone wall.",
    "नदी पुरानी चक्की के पास से बहती है, और चक्की वाले की बिल्ली गरम पत्थर पर सोती है।",
    "小河从老磨坊旁边流过,磨坊主的猫在温暖的石墙上睡觉。",
    "يجري النهر بجانب الطاحونة القديمة، وتنام قطة الطحان على جدار حجري دافئ.",
    "Emoji 🐈‍⬛ ☀️ 👩🏽‍🌾, a family 👩‍👩‍👧, flags 🇮🇳 🇩🇪, blocks ▁▂▃, math ∀x: ⌈x⌉ ≥ ⌊x⌋.",
    'def mill(grain: float) -> float:\treturn  grain *  0.8  # "flour", 42 sacks',
    "  Spaces before,  within   and after.  ",
)


def many_texts(count: int, words: int = 12) -> list[str]:
    """Different texts of several lengths."""
    return [f"{number}: " + " ".join(TEXTS[(number + k) % len(TEXTS)] for k in range(1 + number % words)) for number in range(count)]


def json_lines(texts: Sequence[str], field: str = "text") -> str:
    """The texts as JSON, one object a line."""
    return "".join(json.dumps({"id": number, field: text}, ensure_ascii=number % 2 == 0) + "\n" for number, text in enumerate(texts))


def write_gzip(path: Path, text: str) -> None:
    """Two members, as `cat a.gz b.gz` makes them."""
    data = text.encode()
    path.write_bytes(gzip.compress(data[: len(data) // 2]) + gzip.compress(data[len(data) // 2 :]))


def write_zstd(path: Path, text: str) -> None:
    """Two frames, as parallel compressors make them."""
    data = text.encode()
    frames = io.BytesIO()
    for part in (data[: len(data) // 2], data[len(data) // 2 :]):
        frames.write(zstandard.ZstdCompressor().compress(part))
    path.write_bytes(frames.getvalue())

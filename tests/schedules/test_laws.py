"""The laws behind `auto`: their formulas against published runs, and the numbers that they lead to."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from llmspec.catalog import preset_names
from llmspec.diagnostics import Bag
from llmspec.network import Network, describe
from llmspec.network.network import WeightKind
from llmspec.resolve import Resolved, laws, resolve
from llmspec.resolve.laws import Scale
from llmspec.spec import compose, load
from tests.emit.conftest import SMALL, Compiler, changed

LLAMA_7B = {
    "architecture": {
        "vocab_size": 102400,
        "hidden_size": 4096,
        "num_layers": 30,
        "attention": {"kind": "mha", "num_heads": 32},
        "feed_forward": {"kind": "swiglu", "ffn_hidden_size": 11008},
    },
    "tokenizer": {"kind": "pretrained", "path": "a.json", "vocab_size": 102400},
    "hardware": {"accelerator": "h100-sxm", "nodes": 8, "accelerators_per_node": 8},
}


class Known(NamedTuple):
    resolved: Resolved
    network: Network


@pytest.fixture
def analyze(tmp_path: Path) -> Any:
    def analyze(**changes: Any) -> Known:
        """No rules are asked, so no model is too large for its device."""
        bag = Bag()
        spec = changed(SMALL, {path.replace("__", "."): value for path, value in changes.items()})
        composed = compose(Compiler(tmp_path).write(spec), (), bag)
        resolved = resolve(composed, load(composed, bag), bag)
        return Known(resolved, describe(resolved))

    return analyze


def test_deepseek_s_law_gives_deepseek_s_own_runs() -> None:
    """Bi et al. 2024, table 2: 7B and 67B on 2T tokens, with rates 4.2e-4 and 3.2e-4 and batches of 2304 and 4608 sequences of 4096."""
    for layers, width, feed_forward, keys, rate, batch in (
        (30, 4096, 11008, 4096, 4.2e-4, 2304),
        (95, 8192, 22016, 1024, 3.2e-4, 4608),
    ):
        parameters = layers * width * (2 * (width + keys) + 3 * feed_forward)
        run = Scale(parameters, 2 * 10**12, 6 * parameters + 12 * layers * width * 4096)
        assert laws.learning_rate(run, "deepseek_llm").value == pytest.approx(rate, rel=0.15)
        assert laws.batch_tokens(run, "deepseek_llm").value == pytest.approx(batch * 4096, rel=0.15)


def test_step_law_gives_its_paper_s_example() -> None:
    """Li et al. 2025: the best of a model with 1.07e9 parameters on 1e11 tokens lies near 1.6e-3 and a batch of 1.1 million tokens."""
    run = Scale(1_073_741_824, 10**11, 6 * 1_073_741_824)
    assert laws.learning_rate(run, "step_law").value == pytest.approx(1.79 * 1_073_741_824**-0.713 * 1e11**0.307, rel=5e-3)
    assert laws.batch_tokens(run, "step_law").value == pytest.approx(0.58 * 1e11**0.571)


def test_ladder_at_its_own_size() -> None:
    run = Scale(108_000_000, 10**10, 6 * 108_000_000)
    assert laws.learning_rate(run, "olmo_ladder").value == 0.0047
    assert laws.batch_tokens(run, "olmo_ladder").value == 160 * 2048
    larger = Scale(8 * 108_000_000, 10**10, 6)
    assert laws.learning_rate(larger, "olmo_ladder").value == pytest.approx(0.0047 / 2)
    assert laws.batch_tokens(larger, "olmo_ladder").value == pytest.approx(4 * 160 * 2048)


def test_auto_is_one_law_up_to_its_range_and_another_beyond() -> None:
    assert laws.law_for(Scale(10**9, 10**11, 6 * 10**9), "auto") == "step_law"
    assert laws.law_for(Scale(7 * 10**9, 2 * 10**12, 42 * 10**9), "auto") == "deepseek_llm"
    assert laws.law_for(Scale(7 * 10**9, 2 * 10**12, 42 * 10**9), "olmo_ladder") == "olmo_ladder"


@pytest.mark.parametrize("name", sorted(preset_names()))
def test_parameters_are_those_of_the_network(name: str, analyze: Any) -> None:
    """The count that laws need is made before there is a network; it has all matrices of the layers."""
    found = analyze(architecture={"preset": name}, training__sequence_length=512, hardware__accelerator="h100-sxm")
    counted = sum(
        weight.size
        for layer in found.network.layers
        for weight in layer.weights
        if weight.kind in (WeightKind.MATRIX, WeightKind.OUTPUT_MATRIX)
    )
    assert laws.scale(found.resolved.spec, 1).parameters == counted


def test_auto_small(analyze: Any) -> None:
    found = analyze(
        training={"sequence_length": 1024, "global_batch_size": "auto", "max_tokens": "10B"},
        optimizer__learning_rate="auto",
        architecture={"preset": "gpt2"},
        hardware={"accelerator": "h100-sxm", "accelerators_per_node": 4},
    ).resolved
    assert found.spec.optimizer.learning_rate == 0.00467
    assert found.origin("optimizer.learning_rate").text == (
        "derived: StepLaw (Li et al. 2025): 1.79 * N^-0.713 * D^0.307 = 0.00467 with N = 84,934,656, D = 10,000,000,000"
    )
    assert found.spec.training.global_batch_size == 256  # 296 sequences, and 4 devices: 256 is nearer than 384
    assert found.origin("training.global_batch_size").text == (
        "derived: StepLaw (Li et al. 2025): 0.58 * D^0.571 = 297,460 tokens with D = 10,000,000,000; "
        "256 sequences of 1024 are near, and a multiple of 4"
    )
    assert found.spec.training.max_steps == -(-10_000_000_000 // (256 * 1024))


def test_auto_large(analyze: Any) -> None:
    training = {"sequence_length": 4096, "global_batch_size": "auto", "max_tokens": "2T"}
    found = analyze(**LLAMA_7B, training=training, optimizer__learning_rate="auto").resolved
    assert "DeepSeek LLM" in found.origin("optimizer.learning_rate").text
    assert found.spec.optimizer.learning_rate == pytest.approx(4.2e-4, rel=0.15)
    assert found.spec.training.global_batch_size == 2048


@pytest.mark.parametrize("micro", [None, 3, 5])
@pytest.mark.parametrize("devices", [1, 3, 7])
def test_the_batch_divides_by_the_layout(micro: int | None, devices: int, analyze: Any) -> None:
    training = {"sequence_length": 64, "global_batch_size": "step_law", "max_tokens": "10M"} | (
        {"micro_batch_size": micro} if micro else {}
    )
    found = analyze(training=training, hardware__accelerators_per_node=devices).resolved
    assert found.spec.training.global_batch_size % (devices * found.spec.training.micro_batch_size) == 0
    assert found.spec.training.micro_batch_size == (micro or found.spec.training.micro_batch_size)


@pytest.mark.parametrize("law", ["step_law", "deepseek_llm", "olmo_ladder"])
def test_named_laws(law: str, analyze: Any) -> None:
    training = {"sequence_length": 64, "global_batch_size": law, "max_tokens": "10M"}
    found = analyze(training=training, optimizer__learning_rate=law).resolved
    name = {"step_law": "StepLaw", "deepseek_llm": "DeepSeek LLM", "olmo_ladder": "OLMo ladder"}[law]
    assert found.origin("optimizer.learning_rate").text.startswith(f"derived: {name}")
    assert found.origin("training.global_batch_size").text.startswith(f"derived: {name}")
    assert 1e-4 < found.spec.optimizer.learning_rate < 0.1


@pytest.mark.parametrize("sequences", [0.3, 1, 2.4, 5.2, 7.1, 293, 1e5])
@pytest.mark.parametrize("unit", [1, 6, 24])
def test_rounding_is_near(sequences: float, unit: int) -> None:
    size = laws.near_power(sequences, unit)
    assert size % unit == 0
    assert size == unit or max(size / sequences, sequences / size) < 1.23

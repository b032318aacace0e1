"""The laws behind `auto`: their formulas against published runs, and the numbers that they lead to."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from llmspec.catalog import preset_names
from llmspec.catalog.loss_laws import loss_effect
from llmspec.check.rules.laws import batch_beyond_critical, batch_far_from_laws, learning_rate_far_from_laws
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


def mha(layers: int, width: int, heads: int, feed_forward: int | None = None) -> dict[str, Any]:
    """An architecture by its widths; with `feed_forward` a gated one."""
    kind = {"kind": "swiglu", "ffn_hidden_size": feed_forward} if feed_forward else {"kind": "gelu", "ffn_hidden_size": 4 * width}
    attention = {"kind": "mha", "num_heads": heads}
    return {"vocab_size": 50304, "hidden_size": width, "num_layers": layers, "attention": attention, "feed_forward": kind}


class Recipe(NamedTuple):
    """How a well-known model was trained: tokens of a batch and of the run."""

    name: str
    architecture: dict[str, Any]
    sequence_length: int
    learning_rate: float
    batch: float
    tokens: str


# GPT-2's own rates are not published: the nanoGPT and llm.c reproductions. Sources: the papers' tables, and the configurations of Pythia,
# OLMo, SmolLM and DeepSeek LLM.
RECIPES = (
    Recipe("nanoGPT 124M", {"preset": "gpt2"}, 1024, 6e-4, 491520, "300B"),
    Recipe("llm.c 124M", {"preset": "gpt2"}, 1024, 6e-4, 524288, "10B"),
    Recipe("llm.c 1.6B", {"preset": "gpt2-xl"}, 1024, 6e-4, 1048576, "33.6B"),
    Recipe("GPT-3 125M", {"preset": "gpt3-125m"}, 2048, 6e-4, 0.5e6, "300B"),
    Recipe("GPT-3 350M", {"preset": "gpt3-350m"}, 2048, 3e-4, 0.5e6, "300B"),
    Recipe("GPT-3 760M", {"preset": "gpt3-760m"}, 2048, 2.5e-4, 0.5e6, "300B"),
    Recipe("GPT-3 1.3B", {"preset": "gpt3-1.3b"}, 2048, 2e-4, 1e6, "300B"),
    Recipe("GPT-3 2.7B", {"preset": "gpt3-2.7b"}, 2048, 1.6e-4, 1e6, "300B"),
    Recipe("GPT-3 6.7B", {"preset": "gpt3-6.7b"}, 2048, 1.2e-4, 2e6, "300B"),
    Recipe("GPT-3 175B", {"preset": "gpt3-175b"}, 2048, 6e-5, 3.2e6, "300B"),
    Recipe("Pythia 70M", mha(6, 512, 8), 2048, 1e-3, 2097152, "300B"),
    Recipe("Pythia 160M", mha(12, 768, 12), 2048, 6e-4, 2097152, "300B"),
    Recipe("Pythia 410M", mha(24, 1024, 16), 2048, 3e-4, 2097152, "300B"),
    Recipe("Pythia 1B", mha(16, 2048, 8), 2048, 3e-4, 2097152, "300B"),
    Recipe("Pythia 1.4B", mha(24, 2048, 16), 2048, 2e-4, 2097152, "300B"),
    Recipe("Pythia 2.8B", mha(32, 2560, 32), 2048, 1.6e-4, 2097152, "300B"),
    Recipe("Pythia 6.9B", mha(32, 4096, 32), 2048, 1.2e-4, 2097152, "300B"),
    Recipe("Pythia 12B", mha(36, 5120, 40), 2048, 1.2e-4, 2097152, "300B"),
    Recipe("Llama 7B", {"preset": "llama-7b"}, 2048, 3e-4, 4e6, "1T"),
    Recipe("Llama 13B", {"preset": "llama-13b"}, 2048, 3e-4, 4e6, "1T"),
    Recipe("Llama 33B", {"preset": "llama-33b"}, 2048, 1.5e-4, 4e6, "1.4T"),
    Recipe("Llama 65B", {"preset": "llama-65b"}, 2048, 1.5e-4, 4e6, "1.4T"),
    Recipe("Llama 2 7B", {"preset": "llama-2-7b"}, 4096, 3e-4, 4e6, "2T"),
    Recipe("Llama 2 13B", {"preset": "llama-2-13b"}, 4096, 3e-4, 4e6, "2T"),
    Recipe("Llama 2 70B", {"preset": "llama-2-70b"}, 4096, 1.5e-4, 4e6, "2T"),
    Recipe("Llama 3 8B", {"preset": "llama-3-8b"}, 8192, 3e-4, 16e6, "15T"),
    Recipe("Llama 3 70B", {"preset": "llama-3-70b"}, 8192, 1.5e-4, 16e6, "15T"),
    Recipe("Llama 3.1 405B", {"preset": "llama-3.1-405b"}, 8192, 8e-5, 16e6, "15.6T"),
    Recipe("OLMo 1B", mha(16, 2048, 16, 8192), 2048, 4e-4, 4194304, "3T"),
    Recipe("OLMo 7B", mha(32, 4096, 32, 11008), 2048, 3e-4, 4194304, "2.5T"),
    Recipe("OLMo 2 7B", {"preset": "olmo-2-7b"}, 4096, 3e-4, 4194304, "4T"),
    Recipe("OLMo 2 13B", {"preset": "olmo-2-13b"}, 4096, 9e-4, 8388608, "5T"),
    Recipe("OLMo 2 32B", {"preset": "olmo-2-32b"}, 4096, 6e-4, 8388608, "6T"),
    Recipe("DeepSeek LLM 7B", mha(30, 4096, 32, 11008), 4096, 4.2e-4, 2304 * 4096, "2T"),
    Recipe("DeepSeek LLM 67B", mha(95, 8192, 64, 22016), 4096, 3.2e-4, 4608 * 4096, "2T"),
    Recipe("SmolLM 135M", {"preset": "smollm2-135m"}, 2048, 3e-3, 1048576, "600B"),
    Recipe("SmolLM 360M", {"preset": "smollm2-360m"}, 2048, 3e-3, 1048576, "600B"),
    Recipe("SmolLM 1.7B", {"preset": "smollm2-1.7b"}, 2048, 5e-4, 2097152, "1T"),
    Recipe("SmolLM2 1.7B", {"preset": "smollm2-1.7b"}, 2048, 5e-4, 2097152, "11T"),
    Recipe("TinyLlama 1.1B", {"preset": "tinyllama-1.1b"}, 2048, 4e-4, 2e6, "3T"),
)


def said(analyze: Any, recipe: Recipe, rate: float = 1.0, batch: float = 1.0, **changes: Any) -> dict[str, str]:
    """What the rules say of a recipe whose rate and batch are multiplied: the message by the rule's field or by its name."""
    training = {
        "sequence_length": recipe.sequence_length,
        "global_batch_size": max(1, round(recipe.batch * batch / recipe.sequence_length)),
        "max_tokens": recipe.tokens,
    }
    optimizer = {"kind": "adamw", "learning_rate": min(10.0, recipe.learning_rate * rate)}
    found = analyze(**{"architecture": recipe.architecture, "training": training, "optimizer": optimizer} | changes).resolved
    rules = {"rate": learning_rate_far_from_laws, "batch": batch_far_from_laws, "critical": batch_beyond_critical}
    return {name: finding.message for name, rule in rules.items() for finding in rule(found)}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_no_well_known_recipe_is_called_wrong(recipe: Recipe, analyze: Any) -> None:
    assert said(analyze, recipe) == {}
    assert set(said(analyze, recipe, rate=1 / 100)) == {"rate"}
    assert "rate" in said(analyze, recipe, rate=1000)
    assert set(said(analyze, recipe, batch=1 / 100)) == {"batch"}
    # Too large it is either far from all laws or beyond the critical batch, never both.
    assert set(said(analyze, recipe, batch=50)) in ({"batch"}, {"critical"})


def test_the_warning_says_how_far_by_which_law_and_what_to_set(analyze: Any) -> None:
    recipe = next(recipe for recipe in RECIPES if recipe.name == "Llama 7B")
    training = {"sequence_length": 2048, "global_batch_size": 2048, "max_tokens": "1T"}
    found = analyze(architecture=recipe.architecture, training=training, optimizer={"kind": "adamw", "learning_rate": 1e-5}).resolved
    (finding,) = learning_rate_far_from_laws(found)
    run = laws.scale(found.spec, 10**12)
    lowest = laws.learning_rate(run, "deepseek_llm").value
    assert f"{lowest / 1e-5:.0f} times below" in finding.message
    assert f"{lowest:.3g} by DeepSeek LLM" in finding.message and "by OLMo ladder" in finding.message
    assert finding.path == "optimizer.learning_rate" and "`auto`" in finding.help[0]
    assert len(finding.help) == 4


@pytest.mark.parametrize("kind", ["sgd", "lion", "adafactor", "schedule_free_adamw", "soap", "lamb"])
def test_other_optimizers_have_no_law(kind: str, analyze: Any) -> None:
    for rate, batch in ((1e-4, 1.0), (1e4, 1.0), (1.0, 1e-3), (1.0, 50.0)):
        recipe = RECIPES[0]
        optimizer = {"kind": kind, "learning_rate": min(10.0, recipe.learning_rate * rate)}
        assert said(analyze, recipe, batch=batch, optimizer=optimizer) == {}


def test_with_mup_the_rate_is_that_of_the_base_width(analyze: Any) -> None:
    wide = mha(32, 8192, 64)
    # Cerebras-GPT's muP rate, tuned at 256 wide; at full width it is far above every law.
    recipe = Recipe("wide", wide, 2048, 6e-3, 4e6, "300B")
    assert set(said(analyze, recipe)) == {"rate"}
    narrow = {"base_hidden_size": 256}
    assert said(analyze, recipe._replace(architecture=wide | {"mup": narrow})) == {}
    found = analyze(architecture=wide | {"mup": narrow}, training__max_tokens="300B", optimizer__learning_rate="olmo_ladder")
    base = laws.rate_scale(found.resolved.spec, 1)
    assert base.parameters == laws.scale(found.resolved.spec, 1).parameters // 32**2
    assert found.resolved.spec.optimizer.learning_rate == laws.learning_rate(base, "olmo_ladder").value


def test_the_critical_batch_is_what_was_measured() -> None:
    """Zhang et al. 2024, at the 3.072B tokens of their fixed-data runs: 621.341 * N^0.087 sequences of 512, N in millions."""
    for size in (151, 302, 604):
        run = Scale(size * 10**6, 3_072_000_000, 6 * size * 10**6)
        assert laws.critical_batch(run).value / 512 == pytest.approx(621.341 * size**0.087, rel=0.1)
    # Twice the tokens, a good third more of them in a batch.
    assert laws.critical_batch(Scale(1, 2 * 10**10, 1)).value / laws.critical_batch(Scale(1, 10**10, 1)).value == pytest.approx(2**0.47)
    # Merrill et al. 2025: OLMo 1B went to batches of 4,096 sequences of 4,096 tokens at 503B tokens.
    merrill = 4096 * 4096 / laws.critical_batch(Scale(1, 503 * 10**9, 1)).value
    assert merrill == pytest.approx(loss_effect("critical_batch")["highest"], rel=0.01)

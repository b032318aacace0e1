"""Parameters and FLOPs: exact, against published counts and torch's counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from llmspec.estimate import estimate
from tests.estimate.emitted import emitted_model, make_batch, predict
from tests.estimate.specs import GPT2, LLAMA_2_7B, LLAMA_31_8B, LLAMA_31_405B, TINY, make


@pytest.mark.parametrize(
    ("architecture", "parameters"),
    [(LLAMA_2_7B, 6_738_415_616), (LLAMA_31_8B, 8_030_261_248), (LLAMA_31_405B, 405_853_388_800), (GPT2, 124_439_808)],
)
def test_published_parameter_counts(architecture, parameters):
    counts = estimate(*make(architecture)).parameters
    assert counts.total.value == parameters
    assert counts.active.value == parameters
    assert sum(quantity.value for quantity in counts.by_component.values()) == parameters


def test_non_embedding_parameters_leave_tables_and_head_out():
    gpt2 = estimate(*make(GPT2)).parameters
    assert gpt2.non_embedding.value == 85_056_000  # 12 * (12 * 768**2 + 13 * 768) + 2 * 768
    llama = estimate(*make(LLAMA_2_7B)).parameters
    assert llama.non_embedding.value == 6_738_415_616 - 2 * 32_000 * 4096


@pytest.mark.parametrize("length", [128, 2048])
def test_flops_are_six_a_matrix_entry_and_twelve_a_pair(length):
    flops = estimate(*make(LLAMA_2_7B, training={"sequence_length": length})).flops
    matrices = 6_738_415_616 - 32_000 * 4096 - 65 * 4096
    assert flops.per_token.value == 6 * matrices + 12 * 32 * 4096 * length
    assert flops.causal_per_token.value == 6 * matrices + 12 * 32 * 4096 * (length + 1) / 2
    assert sum(quantity.value for quantity in flops.by_component.values()) == flops.per_token.value
    assert flops.total.value == flops.per_token.value * 100 * 4 * length


def test_flops_equal_torch_on_the_emitted_model():
    resolved, network = make(TINY)
    model, cross_entropy = emitted_model(resolved, network)
    batch = make_batch(resolved)
    # torch knows no FLOPs of the processor's fused attention kernel; the composed one is of matrix products, which it counts.
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        cross_entropy(predict(model, batch), batch.targets).backward()
    assert counter.get_total_flops() == estimate(resolved, network).flops.per_token.value * batch.tokens.numel()


def test_full_checkpointing_runs_the_layers_forward_again():
    resolved, network = make(LLAMA_2_7B, training={"sequence_length": 2048})
    plain = estimate(resolved, network).flops
    full = estimate(*make(LLAMA_2_7B, training={"sequence_length": 2048}, parallelism={"activation_checkpointing": "full"})).flops
    head = 2 * 32_000 * 4096
    causal = 4 * 32 * 4096 * 2049 / 2
    layers = 2 * (6_738_415_616 - 2 * 32_000 * 4096 - 65 * 4096) + causal
    assert full.hardware_per_token.value - plain.hardware_per_token.value == pytest.approx(layers)
    assert plain.hardware_per_token.value == pytest.approx(3 * (layers - causal + head) + 3.5 * causal)
    assert full.per_token.value == plain.per_token.value


def test_a_window_lowers_causal_flops_only():
    windowed = {**LLAMA_2_7B, "attention": {**LLAMA_2_7B["attention"], "window": 256}}
    narrow, wide = (estimate(*make(a, training={"sequence_length": 2048})).flops for a in (windowed, LLAMA_2_7B))
    assert narrow.per_token.value == wide.per_token.value
    assert narrow.causal_per_token.value < wide.causal_per_token.value

"""Rows of published measurements, lowered to the records of the analytic core.

A row says what its source says; what it leaves open is filled by the rules here, which know of no source. Columns are those of
measured_runs.csv; `notes` carries facts that have no column (experts, network, adapters), in phrases that are looked for.
"""

import csv
import math
import re
from dataclasses import dataclass
from pathlib import Path

from llmspec.catalog import Accelerator, find_accelerator
from llmspec.estimate.arithmetic import SCALARS
from llmspec.estimate.constants import memory_constants
from llmspec.estimate.machine import machine
from llmspec.estimate.memory_model import peak_parts
from llmspec.estimate.workload import (
    COMPILED,
    EAGER,
    FUSED,
    RECOMPUTE_FULL,
    RECOMPUTE_NONE,
    RECOMPUTE_SELECTIVE,
    Configuration,
    Layout,
    Machine,
    Shape,
)
from tests.accuracy.exclusions import Subject, excluded_by

ROWS = Path(__file__).parent / "measured_runs.csv"

# Names of devices as sources write them, by the catalog's identifiers; the first pattern that matches counts.
_DEVICES = (
    (r"A100.*PCIe.*40", "a100-40-pcie"),
    (r"A100.*PCIe", "a100-80-pcie"),
    (r"A100.*40", "a100-40-sxm"),
    (r"A100", "a100-80-sxm"),
    (r"A800", "a100-80-sxm"),
    (r"V100.*PCIe.*16", "v100-pcie-16"),
    (r"V100.*PCIe", "v100-pcie-32"),
    (r"V100.*16", "v100-sxm-16"),
    (r"V100", "v100-sxm-32"),
    (r"GH200", "gh200"),
    (r"H100.*PCIe", "h100-pcie"),
    (r"H100.*NVL", "h100-nvl"),
    (r"H100", "h100-sxm"),
    (r"H800", "h800-sxm"),
    (r"H200.*NVL", "h200-nvl"),
    (r"H200", "h200-sxm"),
    (r"H20\b", "h20"),
    (r"GB200", "gb200-nvl72"),
    (r"GB300", "gb300-nvl72"),
    (r"B200", "b200"),
    (r"B300", "b300"),
    (r"A10G", "a10g"),
    (r"A10\b", "a10"),
    (r"A30\b", "a30"),
    (r"A40\b", "a40"),
    (r"A6000", "a6000"),
    (r"L40S", "l40s"),
    (r"L40\b", "l40"),
    (r"L4\b", "l4"),
    (r"T4\b", "t4"),
    (r"6000.?Ada", "rtx6000-ada"),
    (r"PRO.?6000", "rtxpro6000"),
    (r"3090", "rtx3090"),
    (r"4090", "rtx4090"),
    (r"5090", "rtx5090"),
    (r"MI250X?.?(GCD)", "mi250x-gcd"),
    (r"MI250", "mi250x"),
    (r"MI300X", "mi300x"),
    (r"MI325X", "mi325x"),
    (r"MI350X", "mi350x"),
    (r"MI355X", "mi355x"),
    (r"Gaudi.?2", "gaudi2"),
    (r"Gaudi.?3", "gaudi3"),
    (r"v5e", "tpu-v5e"),
    (r"v5p", "tpu-v5p"),
    (r"v6e", "tpu-v6e"),
    (r"TPU.?v7", "tpu-v7"),
    (r"TPU.?v4", "tpu-v4"),
    (r"TPU.?v3", "tpu-v3"),
    (r"TPU.?v2", "tpu-v2"),
    (r"Trn1|Trainium.?1", "trainium1"),
    (r"Trn2|Trainium.?2", "trainium2"),
    (r"Trn3|Trainium.?3", "trainium3"),
    (r"Trainium", "trainium2"),
)
# Elements of DeepSpeed's buckets.
BUCKET = 500e6
# Share of the memory beyond which a row that does not say so is taken to recompute its activations. Sharded runs do so lightly; those
# with tensor and pipeline degrees have these to make room.
MUST_RECOMPUTE = {True: 1.4, False: 2.5}


@dataclass(frozen=True)
class Row:
    """One measurement: as its source has it, as the core sees it, or why it cannot be."""

    id: str
    source: str
    values: dict[str, str]
    accelerator: Accelerator | None
    configuration: Configuration | None
    number_format: str
    experts: bool
    seconds: float | None
    memory_gib: float | None
    excluded: str | None
    """Name of the rule that leaves the row out of the score; None where it counts."""


def accelerator_of(name: str) -> Accelerator | None:
    """The catalog's accelerator for a source's name of it."""
    for pattern, identifier in _DEVICES:
        if re.search(pattern, name, re.IGNORECASE):
            return find_accelerator(identifier)
    return None


def read_rows(path: Path = ROWS) -> list[Row]:
    """All rows of a file."""
    with path.open(newline="", encoding="utf-8") as file:
        return [read_row(values) for values in csv.DictReader(file)]


def _number(values: dict[str, str], name: str) -> float | None:
    """A column's positive number; None where there is none."""
    try:
        number = float(values.get(name) or "")
    except ValueError:
        return None
    return number if 0 < number < math.inf else None


def _phrase(notes: str, pattern: str) -> float | None:
    found = re.search(pattern, notes, re.IGNORECASE)
    return float(found.group(1)) if found else None


def read_row(values: dict[str, str]) -> Row:
    """Lower one row."""
    accelerator = accelerator_of(values.get("gpu") or "")
    shape = _shape(values)
    number_format = _number_format(values)
    configuration = None
    seconds = _number(values, "step_time_s")
    if accelerator is not None and shape is not None and _number(values, "num_gpus"):
        layout, seconds = _layout(values, shape, accelerator, number_format)
        if layout is not None:
            configuration = Configuration(shape, layout, machine_of(values, accelerator, number_format))
    identifier = values["id"]
    return Row(
        id=identifier,
        source=identifier.rpartition("-")[0],
        values=values,
        accelerator=accelerator,
        configuration=configuration,
        number_format=number_format,
        experts=shape is not None and shape.experts > 0,
        seconds=seconds,
        memory_gib=_number(values, "measured_mem_gb"),
        excluded=excluded_by(Subject(values, accelerator, configuration)),
    )


def _number_format(values: dict[str, str]) -> str:
    text = (values.get("precision") or "").lower()
    for pattern, name in (("fp8", "fp8"), ("fp4", "fp4"), ("fp16", "fp16"), ("fp32", "fp32")):
        if pattern in text:
            return name
    return "bf16"


def _shape(values: dict[str, str]) -> Shape | None:
    notes = values.get("notes") or ""
    layers, hidden, heads = (_number(values, name) for name in ("layers", "hidden", "heads"))
    if not hidden:
        return None
    heads = heads or hidden / 128
    sequence = _number(values, "seq_len") or _phrase(notes, r"\bseq (\d+)")
    vocabulary = _number(values, "vocab") or 32_000.0
    if not sequence:
        return None
    kv_heads = _number(values, "kv_heads") or heads
    head_dim = _phrase(notes, r"head_dim[ =](\d+)") or hidden / heads
    matrices = 3.0 if (values.get("ffn_kind") or "swiglu") in ("swiglu", "geglu") else 2.0
    ffn = _number(values, "ffn_hidden") or (4.0 * hidden if matrices == 2 else 256.0 * -(-8 * hidden // 768))
    experts = _phrase(notes, r"experts=(\d+)") or 0.0
    active = _phrase(notes, r"topk=(\d+)") or (1.0 if experts else 0.0)
    expert_ffn = _phrase(notes, r"moe_ffn=(\d+)") or ffn
    dense = _phrase(notes, r"first_dense=(\d+)") or 0.0
    shared = (_phrase(notes, r"shared=(\d+)") or 0.0) * expert_ffn
    key_dim = value_dim = head_dim
    entries = hidden * head_dim * (2 * heads + 2 * kv_heads)
    parameters = _number(values, "params")
    if not layers and parameters and not experts:
        tables = vocabulary * hidden * (1 if values.get("tied") == "1" else 2)
        layers = float(round((parameters - tables) / (entries + matrices * hidden * ffn)))
    if not layers:
        return None
    if re.search(r"\bmla=1|\bMLA\b", notes):
        # Multi-head latent attention with the widths of DeepSeek's models.
        key_dim, value_dim, kv_heads = 192.0, 128.0, heads
        query_rank, rank = 1536.0, 512.0
        entries = hidden * (query_rank + rank + 64) + query_rank * heads * 192 + rank * heads * 256 + heads * 128 * hidden
    window = _phrase(notes, r"sliding_window=(\d+)")
    span = sequence / 2
    if window:
        windowed = min(window, sequence)
        narrow = windowed * (1 - windowed / (2 * sequence))
        span = (span + narrow) / 2 if "alternating" in notes else narrow
    tuned = _tuned_share(notes, vocabulary, hidden, layers, entries + matrices * hidden * ffn)
    return Shape(
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        key_dim=key_dim,
        value_dim=value_dim,
        attention_entries=entries,
        ffn=ffn,
        matrices=matrices,
        vocabulary=vocabulary,
        tied=float(values.get("tied") == "1"),
        sequence=sequence,
        span=span,
        experts=experts,
        active_experts=active,
        expert_ffn=expert_ffn if experts else 0.0,
        shared_ffn=shared,
        dense_layers=dense if experts else layers,
        trained=tuned,
    )


def _tuned_share(notes: str, vocabulary: float, hidden: float, layers: float, layer_entries: float) -> float:
    """Share of the parameters that get gradients: all, or adapters on a frozen model and perhaps its tables."""
    if not re.search(r"LoRA|finetune_adapter|/q?lora\.yaml", notes) or re.search(r"^Full|full fine-tune|finetune_full|/full\.yaml", notes):
        return 1.0
    if re.search(r"LoRA \(emb\)", notes):
        tables = 2 * vocabulary * hidden
        return tables / (tables + layers * layer_entries)
    return 0.005


def _is_megatron(values: dict[str, str], tensor: float, pipeline: float) -> bool:
    """Whether the row was measured with Megatron or what is built on it: its notes say so, or the software that it is a measurement of."""
    notes = values.get("notes") or ""
    said = re.search(r"megatron|nemo|transformer.?engine|dgxc|framework=", notes, re.IGNORECASE)
    said = said or re.search("megatron", values.get("source_repo_or_paper") or "", re.IGNORECASE)
    return bool(said) or (tensor * pipeline > 1 and values.get("compile") != "1")


def _layout(values: dict[str, str], shape: Shape, accelerator: Accelerator, number_format: str) -> tuple[Layout | None, float | None]:
    notes = values.get("notes") or ""
    devices = _number(values, "num_gpus") or 1.0
    tensor, pipeline, context, expert = (_number(values, name) or 1.0 for name in ("tp", "pp", "cp", "ep"))
    if devices % (tensor * pipeline * context):
        return None, None
    virtual = _number(values, "vp") or 1.0
    if pipeline == 1:
        virtual = 1.0
    elif not values.get("vp") and shape.layers % pipeline == 0:
        virtual = shape.layers / pipeline  # where the source does not say, the finest that there is
    replicas = devices / (tensor * pipeline * context)
    wanted = _number(values, "global_batch_seqs")
    if wanted and wanted < replicas and not values.get("cp"):
        # More devices than sequences: each sequence is on several.
        context = replicas / wanted
        replicas = wanted
    per_node = float(min(devices, _phrase(notes, r"nodes? x ?(\d+)") or accelerator.accelerators_per_node))
    batch = _number(values, "global_batch_seqs")
    accumulation = _phrase(notes, r"grad_accum[=: ](\d+)")
    micro_batch = _number(values, "micro_batch")
    rate = _number(values, "measured_tokens_per_s_per_gpu")
    seconds = _number(values, "step_time_s")
    if batch is None:
        batch = replicas * (micro_batch or 1.0) * (accumulation or 1.0)
        seconds = None
    if micro_batch is None:
        share = max(1.0, batch / replicas)
        # Where nothing is told: one with Megatron, else as many as have 16,384 tokens, which is what a spec gets that leaves it out.
        usual = 1.0 if _is_megatron(values, tensor, pipeline) else max(1.0, 16_384 // shape.sequence)
        micro_batch = max(1.0, share / accumulation) if accumulation else min(share, usual)
    micro_batches = max(1.0, batch / replicas / micro_batch)
    if seconds is None and rate:
        seconds = batch * shape.sequence / rate / devices
    megatron = _is_megatron(values, tensor, pipeline)
    kind = (values.get("dp_or_shard_kind") or "").lower()
    if not kind:
        kind = "ddp" if replicas == 1 or (shape.trained < 1 and not megatron) else "zero1" if megatron else "fsdp"
    stage = {"ddp": 0, "zero1": 1, "zero2": 2, "zero3": 3, "fsdp": 3, "fsdp2": 3, "hsdp": 3}.get(kind, 3 if "fsdp" in kind else 1)
    shard_size = _phrase(notes, r"zero\d? group=(\d+)") or (per_node if kind == "hsdp" else replicas * context)
    old = bool(re.search(r"Megatron-DeepSpeed|SC21|paper FLOP formula", notes)) or number_format == "fp16"
    compiled = values.get("compile") == "1"
    quantised = number_format in ("fp8", "fp4")
    xla = accelerator.device_type == "xla" or bool(re.search(r"maxtext|paxml|\bjax\b", notes, re.IGNORECASE))
    kernels = FUSED if megatron or xla or (quantised and not compiled) else COMPILED if compiled else EAGER
    flash = 0.0 if values.get("flash_attn") == "0" else 1.0
    checkpointing = (values.get("act_ckpt") or "").lower()
    recompute = {"full": RECOMPUTE_FULL, "selective": RECOMPUTE_SELECTIVE, "none": RECOMPUTE_NONE}.get(checkpointing)
    # Megatron's recipes for speed reduce gradients in 16 bit, as fp16 does; FSDP by default in fp32.
    reduce_bytes = 2.0 if number_format == "fp16" or "PURE" in notes or (megatron and not old) else 4.0
    # DeepSpeed's first stages keep 16-bit gradients, an fp32 copy of the own part, and buckets; its optimizer for bf16 whole fp32 ones too.
    deepspeed = bool(re.search("Megatron-DeepSpeed|ds script|Deepspeed", notes)) and stage in (1, 2)
    mixed = megatron or stage in (1, 2) or shape.trained < 1
    gradient_bytes = 2.0 if mixed and not megatron else reduce_bytes
    master = 12.0 if mixed else 8.0
    if deepspeed:
        gradient_bytes = 6.0 if "fp32 grad accumulation" in notes else 2.0
        master = 16.0
    layout = Layout(
        devices=devices,
        per_node=per_node,
        tensor=tensor,
        sequence_parallel=float(tensor > 1 and not old),
        pipeline=pipeline,
        virtual=virtual,
        bubble=1.0 / virtual,
        flushes=0.0,
        context=context,
        expert=expert,
        shard_stage=float(stage if devices > 1 else 0),
        shard_size=max(1.0, shard_size),
        reshard=1.0,
        micro_batch=micro_batch,
        micro_batches=micro_batches,
        recompute=float(recompute or 0),
        kernels=float(kernels),
        flash=flash,
        product_bytes={"fp8": 1.0, "fp4": 0.5, "fp32": 4.0}.get(number_format, 2.0),
        activation_bytes=4.0 if number_format == "fp32" else 2.0,
        quantised=float(quantised),
        reduce_bytes=reduce_bytes,
        state_bytes=master,
        optimizer_flops=0.0,
        parameter_bytes=1.0 if quantised and shape.trained < 1 else 2.0 if mixed else 4.0,
        gradient_bytes=gradient_bytes,
        overlapped=float(not old),
        bucket=BUCKET if deepspeed else 0.0,
        offload=float("CPU offload" in notes),
    )
    if recompute is None and shape.experts == 0:
        # Where the source does not say, what the memory leaves no choice but.
        plain = Configuration(shape, layout, machine_of(values, accelerator, number_format))
        peak = sum(peak_parts(SCALARS, plain, memory_constants()).values())
        if peak > MUST_RECOMPUTE[stage == 3] * accelerator.memory_bytes:
            layout = layout._replace(recompute=float(RECOMPUTE_FULL))
    return layout, seconds


def machine_of(values: dict[str, str], accelerator: Accelerator, number_format: str) -> Machine:
    """The devices of a row: the catalog's, with the network that the row tells of."""
    result = machine(accelerator, number_format)
    notes = values.get("notes") or ""
    per_node = accelerator.accelerators_per_node
    links = re.search(r"(\d+) ?x ?(?:OmniPath )?(\d+) ?G", notes)
    network = None
    if found := re.search(r"inter-node (\d+) ?Gbps", notes):
        network = float(found.group(1))
    elif found := re.search(r"(?:roce|ib|efa)_?(\d+)", notes):
        network = float(found.group(1))
    elif links:
        network = float(links.group(1)) * float(links.group(2))
    if network:
        result = result._replace(network=network * 1e9 / 8 / per_node)
    return result

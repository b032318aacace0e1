"""Configurations as the analytic core sees them: plain numbers, whatever they were lowered from.

A resolved spec, a row of published measurements and a grid of candidates all become these records. Every entry is a number, or a numpy
array with one number for each of many configurations: the core is arithmetic and does not care. Yes and no are 1 and 0.
"""

from typing import Any, NamedTuple

Number = Any  # float, or a numpy array of them

RECOMPUTE_NONE, RECOMPUTE_SELECTIVE, RECOMPUTE_FULL = 0, 1, 2
EAGER, COMPILED, FUSED = 0, 1, 2


class Shape(NamedTuple):
    """The model."""

    layers: Number
    hidden: Number
    heads: Number
    kv_heads: Number
    key_dim: Number
    """Entries of one head's query and key."""
    value_dim: Number
    """Entries of one head's value."""
    attention_entries: Number
    """Entries of all projection matrices of one layer's attention."""
    ffn: Number
    """Width of a dense feed-forward, or of the dense layers of a model with experts."""
    matrices: Number
    """Matrices of a feed-forward: 2, or 3 where it is gated."""
    vocabulary: Number
    tied: Number
    sequence: Number
    span: Number
    """Keys that a query meets on average with the causal mask and the window, of `sequence`."""
    experts: Number
    """Experts of a layer; 0 in a dense model."""
    active_experts: Number
    expert_ffn: Number
    shared_ffn: Number
    """Width of what every token passes beside its experts."""
    dense_layers: Number
    """Layers without experts; all of them in a dense model."""
    trained: Number
    """Share of the weights that get gradients: 1, near 0 with adapters on a frozen model."""


class Layout(NamedTuple):
    """How it is laid over devices, and how it computes."""

    devices: Number
    per_node: Number
    tensor: Number
    sequence_parallel: Number
    pipeline: Number
    virtual: Number
    """Stages that each device of the pipeline holds."""
    bubble: Number
    """Share of the plain pipeline bubble that the schedule leaves: 1 for gpipe and 1f1b, 1 / virtual interleaved, less for zero bubble."""
    flushes: Number
    """1 where all micro batches run forward before any runs backward (gpipe)."""
    context: Number
    expert: Number
    shard_stage: Number
    """What is sharded over replicas: 0 nothing, 1 the optimizer's state, 2 gradients too, 3 parameters too."""
    shard_size: Number
    """Devices that share one set of shards."""
    reshard: Number
    """1 where gathered parameters are freed after the forward pass."""
    micro_batch: Number
    micro_batches: Number
    """Micro batches of one replica in a step."""
    recompute: Number
    kernels: Number
    """EAGER, COMPILED, or FUSED: hand-written kernels for norms, activations and softmax (Megatron, Transformer Engine)."""
    flash: Number
    """1 with fused attention; 0 where scores are written to memory."""
    product_bytes: Number
    """Bytes of an operand of a matrix product that a kernel reads: 2, or 1 in fp8, 0.5 in fp4, 4 in fp32."""
    activation_bytes: Number
    """Bytes of an element of what flows between products: 2, or 4 in fp32."""
    quantised: Number
    """1 where operands are quantised before each product (fp8, fp4)."""
    reduce_bytes: Number
    """Bytes of a gradient on the wire."""
    state_bytes: Number
    """Bytes of one parameter's optimizer state, master copy included."""
    optimizer_flops: Number
    """FLOPs of the matrix products that the optimizer's step makes, over the whole model."""
    parameter_bytes: Number
    """Bytes of one parameter as it is kept."""
    gradient_bytes: Number
    """Bytes of one gradient as it is kept."""
    overlapped: Number
    """1 where gradients travel while the backward pass runs."""
    bucket: Number
    """Elements of the buckets in which gradients are reduced and parameters gathered; 0 where that is done in place."""
    offload: Number
    """1 where the optimizer's state lives in host memory."""


class Machine(NamedTuple):
    """What the devices are."""

    ceiling: Number
    """FLOP/s of the best large matrix products in the run's number format."""
    attention_ceiling: Number
    """The same in 16 bit, in which attention computes."""
    peak: Number
    """Stated dense peak in 16 bit, FLOP/s."""
    units: Number
    """Multiprocessors."""
    tile: Number
    """Entries of the result that one multiprocessor makes at a time."""
    bandwidth: Number
    """Stated bytes/s of the device's memory."""
    link: Number
    """Stated bytes/s one way between devices of one domain."""
    domain: Number
    """Devices that the link joins."""
    network: Number
    """Stated bytes/s one way of one device's share of the network."""
    memory: Number
    """Bytes of memory that a program can use."""
    amd: Number
    """1 for a device of AMD's, whose kernels reach less of what its best products do."""


class Configuration(NamedTuple):
    """A run's step: what is computed, how it is laid out, on what."""

    shape: Shape
    layout: Layout
    machine: Machine

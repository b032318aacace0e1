"""The analytic core of the step time: operations of one rank, the device's speed at them, and the schedule that lays them out in time.

Three layers that know of each other only what is passed on. `rank_work` counts what one rank computes and sends: exact. `Device speed`
turns products, passes over memory and messages into seconds with the constants of the catalog. `step_parts` overlaps, fills the pipeline
and waits for the slowest. Everything is arithmetic on numbers or on columns of them.
"""

from typing import NamedTuple

from llmspec.estimate.arithmetic import Arithmetic
from llmspec.estimate.workload import (
    COMPILED,
    EAGER,
    FUSED,
    RECOMPUTE_FULL,
    RECOMPUTE_NONE,
    Configuration,
    Layout,
    Machine,
    Number,
    Shape,
)


class Constants(NamedTuple):
    """What was fitted: few numbers, each with a physical meaning. The catalog's efficiency.yaml holds their values and says of what."""

    sustained: float
    amd: float
    falloff: float
    tail: float
    fill: float
    attention: float
    fused_attention: float
    attention_fill: float
    attention_backward: float
    bandwidth: float
    eager_passes: float
    compiled_passes: float
    fused_passes: float
    score_bytes: float
    quantise_passes: float
    accumulation: float
    host: float
    compiled_host: float
    host_jitter: float
    adapter_host: float
    step_overhead: float
    link: float
    network: float
    latency: float
    hop: float
    unaligned: float
    coarse: float
    tensor_exposed: float
    overlap: float
    contention: float
    pipeline_exposed: float
    expert_imbalance: float
    expert_passes: float
    expert_exposed: float
    expert_host: float
    jitter: float


# A layer's backward pass is two products for each forward product: one for the input's gradient, one for the weight's.
ADAPTERS = 0.5  # with fewer than this share of the weights trained, they are adapters beside frozen ones
# Bytes that a score costs backward over forward: 6 over 4 without dropout, 11 over 9 with it.
SCORES_BACKWARD = 1.3
REFERENCE_CEILING = 271.2e12  # of an A100
REFERENCE_RATE = REFERENCE_CEILING / 108  # one multiprocessor of an A100, which the fill of a product is stated for


class Speed(NamedTuple):
    """One device's speed at each kind of work, in one configuration."""

    xp: Arithmetic
    constants: Constants
    machine: Machine
    layout: Layout

    def product(self, rows: Number, inner: Number, columns: Number, groups: Number = 1.0) -> Number:
        """Seconds of `groups` matrix products of this size in one kernel.

        A multiprocessor makes a tile of the result at a time; filling its pipeline costs it `fill` steps of the inner dimension, and the
        last wave of tiles is half empty on average: `tail` of a wave.
        """
        machine, constants = self.machine, self.constants
        fill = constants.fill * (machine.ceiling / machine.units / REFERENCE_RATE)
        results = groups * rows * columns + constants.tail * machine.units * machine.tile
        compute = 2 * results * (inner + fill) / (machine.ceiling * constants.sustained) * self.slower() * self.native()
        size = self.layout.product_bytes
        moved = groups * (size * (rows * inner + inner * columns) + self.layout.activation_bytes * rows * columns)
        return self.xp.maximum(compute, self.memory(moved))

    def alignment(self, *sizes: Number) -> Number:
        """How much longer a product takes whose rows do not fill 128 bytes (64 elements), or not even 16 (8 elements)."""
        xp = self.xp
        factor: Number = 1.0
        for size in sizes:
            whole = size - 64.0 * xp.ceil(size / 64.0 - 1e-6) > -1e-3
            eighth = size - 8.0 * xp.ceil(size / 8.0 - 1e-6) > -1e-3
            factor = xp.maximum(factor, xp.where(whole, 1.0, xp.where(eighth, self.constants.coarse, self.constants.unaligned)))
        return factor

    def trained_product(
        self, rows: Number, inner: Number, columns: Number, forwards: Number, trained: Number, groups: Number = 1.0
    ) -> Number:
        """Seconds of a product, `forwards` times, and of its two backward products."""
        return (
            forwards * self.product(rows, inner, columns, groups)
            + self.product(rows, columns, inner, groups)
            + trained * self.product(inner, rows, columns, groups)
        )

    def memory(self, size: Number) -> Number:
        """Seconds to move so many bytes to and from the device's memory."""
        return size / (self.machine.bandwidth * self.constants.bandwidth) * self.slower()

    def slower(self) -> Number:
        """How much longer kernels take than NVIDIA's of the same ceiling."""
        return self.xp.where(self.machine.amd > 0, self.constants.amd, 1.0)

    def native(self) -> Number:
        """How much longer products take that PyTorch starts itself, on a device that is faster than the A100.

        The faster the device, the more of its speed only libraries reach that were written for it (Transformer Engine, Megatron, XLA).
        """
        falloff = self.xp.maximum(1.0, self.machine.attention_ceiling / REFERENCE_CEILING) ** self.constants.falloff
        return self.xp.where(self.layout.kernels == FUSED, 1.0, falloff)

    def attention(self, flops: Number, head_dim: Number) -> Number:
        """Seconds of so many FLOPs in a fused attention kernel.

        Those that PyTorch brings reach less than those of cuDNN, Transformer Engine and XLA, which are written for each generation of
        devices: FlashAttention-2 reaches 35% of an H100's peak, FlashAttention-3 up to 75% (Shah et al. 2024).
        """
        constants = self.constants
        fill = constants.attention_fill * (self.machine.attention_ceiling / self.machine.units / REFERENCE_RATE)
        share = self.xp.where(self.layout.kernels == FUSED, constants.fused_attention, constants.attention)
        return flops * (head_dim + fill) / head_dim / (self.machine.attention_ceiling * share) * self.slower() * self.native()

    def message(self, size: Number, devices: Number, stride: Number) -> Number:
        """Seconds for each device of a ring to pass `size` bytes on, where `stride` devices lie between neighbours.

        A ring that leaves the domain of the link goes at the pace of the network, of which it has the share of all its devices in a node.
        """
        xp, machine, constants = self.xp, self.machine, self.constants
        members = xp.maximum(1.0, machine.domain / stride)
        inside = machine.link * constants.link
        outside = xp.minimum(inside, machine.network * constants.network * members)
        seconds = size / xp.where(devices > members, outside, inside)
        return xp.where(devices > 1, seconds + self.delay(devices, stride), 0.0)

    def delay(self, devices: Number, stride: Number) -> Number:
        """Seconds that a collective takes whatever its size: starting it, and a hop for each node of the ring."""
        members = self.xp.maximum(1.0, self.machine.domain / stride)
        nodes = self.xp.ceil(devices / members - 1e-9)
        return self.xp.where(devices > 1, self.constants.latency + self.constants.hop * (nodes - 1.0), 0.0)


class Work(NamedTuple):
    """Seconds of one micro batch on one device, and bytes of what it holds."""

    products: Number
    attention: Number
    elementwise: Number
    quantise: Number
    tensor: Number
    context: Number
    experts: Number
    host: Number


def layer_seconds(speed: Speed, shape: Shape, *, experts: bool) -> Work:
    """Seconds of one layer for one micro batch, forward, backward and recomputed."""
    xp, constants, layout = speed.xp, speed.constants, speed.layout
    tensor = layout.tensor
    tokens = layout.micro_batch * shape.sequence / layout.context
    full = layout.recompute == RECOMPUTE_FULL
    again = layout.recompute != RECOMPUTE_NONE
    forwards = xp.where(full, 2.0, 1.0)
    queries, keys = shape.heads * shape.key_dim, shape.kv_heads * shape.key_dim
    output_entries = shape.heads * shape.value_dim * shape.hidden
    trained = shape.trained

    # Projections of the attention: those of its input together, as wide as their entries say, and that of its output.
    products = speed.trained_product(
        tokens, shape.hidden, (shape.attention_entries - output_entries) / shape.hidden / tensor, forwards, trained
    )
    products = products + speed.trained_product(tokens, shape.heads * shape.value_dim / tensor, shape.hidden, forwards, trained)
    products = products * speed.alignment(shape.hidden, shape.heads * shape.value_dim / tensor)
    tall, wide = shape.ffn / tensor, (shape.matrices - 1) * shape.ffn / tensor
    if experts:
        # Each device holds num_experts / expert of them and gets its share of all routed tokens, padded to a tile for each.
        local = xp.maximum(1.0, shape.experts / layout.expert)
        routed = tokens * shape.active_experts / tensor
        rows = routed * constants.expert_imbalance / local + 64.0
        products = products + speed.trained_product(rows, shape.hidden, (shape.matrices - 1) * shape.expert_ffn, forwards, trained, local)
        products = products + speed.trained_product(rows, shape.expert_ffn, shape.hidden, forwards, trained, local)
        tall, wide = shape.shared_ffn / tensor, (shape.matrices - 1) * shape.shared_ffn / tensor
        shared = shape.shared_ffn > 0
        products = products + xp.where(shared, speed.trained_product(tokens, shape.hidden, wide, forwards, trained), 0.0)
        products = products + xp.where(shared, speed.trained_product(tokens, tall, shape.hidden, forwards, trained), 0.0)
    else:
        both = speed.trained_product(tokens, shape.hidden, wide, forwards, trained) + speed.trained_product(
            tokens, tall, shape.hidden, forwards, trained
        )
        products = products + both * speed.alignment(shape.hidden, tall)

    # Attention: causal pairs only in a fused kernel, all pairs and their scores in memory otherwise: softmax reads and writes each forward,
    # and reads the probabilities and their gradient and writes one backward (SCORES_BACKWARD). Dropout adds to both.
    heads = shape.heads / tensor
    pair_flops = 2.0 * tokens * heads * (shape.key_dim + shape.value_dim)
    mean_dim = (shape.key_dim + shape.value_dim) / 2
    fused = speed.attention(pair_flops * shape.span * (forwards + constants.attention_backward), mean_dim)
    scores = tokens * heads * shape.sequence
    batch_forwards = xp.where(again, 2.0, 1.0)
    plain = (batch_forwards + 2.0) * (
        speed.product(tokens * heads, mean_dim, shape.sequence) + speed.product(tokens * heads, shape.sequence, mean_dim)
    ) + (batch_forwards + SCORES_BACKWARD) * speed.memory(constants.score_bytes * scores * layout.activation_bytes / 2)
    plain = plain * xp.where(speed.alignment(shape.key_dim) > constants.coarse, constants.unaligned, 1.0)
    attention = xp.where(layout.flash > 0, fused, plain)

    # Passes over memory: norms, residual additions, dropout along the stream; rotation and activation on what tensor parallelism splits.
    size = layout.activation_bytes
    stream = tokens / xp.where(layout.sequence_parallel > 0, tensor, 1.0) * shape.hidden * 10.0
    routed_width = shape.active_experts * (shape.expert_ffn * shape.matrices + constants.expert_passes * shape.hidden) if experts else 0.0
    split = tokens / tensor * (2.0 * (queries + keys) + shape.matrices * (shape.shared_ffn if experts else shape.ffn) + routed_width)
    passes = xp.where(
        layout.kernels == EAGER,
        constants.eager_passes,
        xp.where(layout.kernels == COMPILED, constants.compiled_passes, constants.fused_passes),
    )
    # Adapters read each product's input and add to its result.
    beside = 3.0 * (shape.attention_entries / shape.hidden + 2.0 * shape.hidden + shape.matrices * (shape.ffn + shape.hidden)) / tensor
    beside = xp.where((trained < ADAPTERS) & (layout.kernels == EAGER), beside * tokens, 0.0)
    elementwise = speed.memory((stream + split + beside) * size * passes) * (xp.where(again, 2.0, 1.0) + 2.0)

    # Quantisation: what each product reads is read in 16 bit and written again.
    inputs = (
        tokens
        / tensor
        * (
            shape.hidden * 2 * xp.where(layout.sequence_parallel > 0, 1.0, tensor)
            + queries
            + shape.matrices * (shape.ffn if not experts else shape.shared_ffn)
        )
    )
    if experts:
        inputs = inputs + tokens / tensor * shape.active_experts * (shape.hidden + shape.matrices * shape.expert_ffn)
    quantise = layout.quantised * speed.memory(constants.quantise_passes * inputs * 3.0) * (forwards + 1.0)

    # Tensor parallelism: an all-reduce after each sublayer, forward and backward, or its two halves with sequence parallelism.
    message = 2.0 * (tensor - 1) / tensor * tokens * shape.hidden * layout.activation_bytes
    reductions = 2.0 * forwards + 2.0
    exposed = xp.where((layout.sequence_parallel > 0) & (layout.kernels == FUSED), constants.tensor_exposed, 1.0)
    tensor_seconds = reductions * speed.message(message, tensor, 1.0) * exposed

    # Context parallelism: keys and values go round, hidden by the attention of the part that is there.
    around = (layout.context - 1) / layout.context * shape.sequence * layout.micro_batch * 2.0 * keys / tensor * 2.0
    context_seconds = (forwards + 2.0) * speed.message(around, layout.context, tensor)
    context_exposed = xp.maximum(constants.contention * context_seconds, context_seconds - constants.overlap * attention)

    expert_seconds: Number = 0.0
    if experts:
        sent = tokens * shape.active_experts / tensor * shape.hidden * (layout.expert - 1) / layout.expert
        # Dispatch and combination, forward and backward. What leaves the domain of the link takes the network.
        members = xp.minimum(layout.expert, speed.machine.domain)
        remote = (layout.expert - members) / xp.maximum(1.0, layout.expert - 1)
        one = sent * 2.0 * (
            remote / (speed.machine.network * constants.network) + (1.0 - remote) / (speed.machine.link * constants.link)
        ) + xp.where(layout.expert > 1, constants.latency, 0.0)
        expert_seconds = constants.expert_exposed * one * (2.0 * forwards + 2.0)

    # Python starts the layer's kernels; the devices of a tensor group wait for the slowest of their processes at each exchange.
    host = xp.where(layout.kernels == COMPILED, constants.compiled_host, constants.host) * xp.where(full, 4.0 / 3.0, 1.0)
    host = host * (1.0 + constants.host_jitter * xp.sqrt(2.0 * xp.log(tensor)))
    host = host * xp.where(trained < ADAPTERS, constants.adapter_host, 1.0)
    if experts:
        host = host * constants.expert_host
    return Work(products, attention, elementwise, quantise, tensor_seconds, context_exposed, expert_seconds, host)


def step_parts(xp: Arithmetic, configuration: Configuration, constants: Constants) -> dict[str, Number]:
    """Seconds of one optimizer step by what they go to; they add up to the step."""
    shape, layout, machine = configuration
    speed = Speed(xp, constants, machine, layout)
    dense = layer_seconds(speed, shape, experts=False)
    # Where no model of the column has experts, theirs need not be computed.
    plain = isinstance(shape.experts, float) and shape.experts == 0
    mixed = dense if plain else layer_seconds(speed, shape, experts=True)
    mixed_layers = xp.where(shape.experts > 0, shape.layers - shape.dense_layers, 0.0)
    dense_layers = shape.layers - mixed_layers
    work = Work(*(dense_layers * one + mixed_layers * other for one, other in zip(dense, mixed, strict=True)))
    tokens = layout.micro_batch * shape.sequence / layout.context
    tensor, pipeline = layout.tensor, layout.pipeline

    # The head and the loss stand on the last stage; stages that do not divide the layers were balanced with them.
    head = speed.trained_product(tokens, shape.hidden, shape.vocabulary / tensor, 1.0, shape.trained)
    # Tensor cores want rows of a multiple of 16 bytes; libraries that split the vocabulary pad it to one.
    head = head * xp.where(tensor > 1, 1.0, speed.alignment(shape.vocabulary))
    loss = speed.memory(tokens * shape.vocabulary / tensor * 16.0)
    # Each micro batch's gradients are added to what is kept of them: read and written, partly in the kernel that makes them. Sharded ones
    # are added once they are scattered, a small part.
    ffn_entries = shape.matrices * shape.hidden
    dense_entries = (
        shape.layers * shape.attention_entries + dense_layers * ffn_entries * shape.ffn + mixed_layers * ffn_entries * shape.shared_ffn
    )
    expert_entries = mixed_layers * ffn_entries * shape.expert_ffn * shape.experts
    trained = xp.maximum(shape.trained, 1e-3)
    kept = trained * (dense_entries / tensor + expert_entries / layout.expert)
    adds = (layout.micro_batches > 1) & (layout.shard_stage < 3)
    accumulation = xp.where(adds, constants.accumulation * speed.memory(2.0 * layout.gradient_bytes * kept), 0.0)
    work = work._replace(elementwise=work.elementwise + accumulation)

    slots = pipeline * layout.virtual
    even = shape.layers - slots * xp.ceil(shape.layers / slots - 1e-9) == 0
    stages = xp.where(even, 1.0, pipeline)

    gpu_parts = (work.products, work.attention, work.elementwise, work.quantise, work.tensor, work.context, work.experts)
    busy = sum(gpu_parts) / pipeline
    waiting = xp.maximum(0.0, work.host / pipeline - busy)
    mean_stage = busy + waiting + (head + loss) / pipeline
    slowest_stage = busy + waiting + (head + loss) / stages

    # Parameters of one device: of the slowest stage's layers and one table.
    tables = shape.vocabulary * shape.hidden * xp.where(pipeline > 1, 1.0, 2.0 - shape.tied)
    held = dense_entries / pipeline / tensor + tables / tensor
    held_experts = expert_entries / pipeline / layout.expert

    # Replicas: gradients are averaged over all devices that hold the same parameters; context ranks hold them too.
    replicas = layout.devices / (tensor * pipeline)
    expert_replicas = xp.maximum(1.0, layout.devices / (pipeline * layout.expert))
    sharded = layout.shard_stage >= 3
    shards = xp.where(layout.shard_stage >= 1, xp.minimum(layout.shard_size, replicas), 1.0)
    ring = (replicas - 1) / replicas
    expert_ring = (expert_replicas - 1) / expert_replicas
    reduce = speed.message(trained * (ring * held + 0.0) * layout.reduce_bytes, replicas, tensor) + speed.message(
        trained * expert_ring * held_experts * layout.reduce_bytes, expert_replicas, layout.expert
    )
    gather = speed.message(trained * ring * held * layout.activation_bytes, replicas, tensor) + speed.message(
        trained * expert_ring * held_experts * layout.activation_bytes, expert_replicas, layout.expert
    )
    # Whole replicas all-reduce once a step; ZeRO 1 scatters and gathers, as much; ZeRO 2 scatters each micro batch.
    scatters = xp.where(layout.shard_stage == 2, layout.micro_batches, 1.0)
    once = xp.where(layout.shard_stage >= 1, reduce * scatters + gather, 2.0 * reduce)
    backward = slowest_stage * 2.0 / 3.0
    once_hidden = xp.where(layout.overlapped > 0, constants.overlap * backward, 0.0)
    once_exposed = xp.maximum(once - once_hidden, once * xp.where(layout.overlapped > 0, constants.contention, 1.0))

    # Sharded parameters are gathered for each forward and backward pass, and gradients scattered after each. In a pipeline, whose stages
    # turn from one to the other all the time, they stay whole for the step and gradients are scattered at its end.
    shard_ring = (shards - 1) / shards
    piped = pipeline > 1
    passes = xp.where(piped, 1.0, 1.0 + layout.reshard)
    times = xp.where(piped, 1.0, layout.micro_batches)
    # A layer at a time, each of which pays the delay of the ring.
    delays = (shape.layers / pipeline + 1.0) * speed.delay(shards, tensor)
    held_whole = shard_ring * held + expert_ring * held_experts
    gather_all = speed.message(held_whole * layout.activation_bytes, shards, tensor) + delays
    scatter_all = speed.message(trained * held_whole * layout.reduce_bytes, shards, tensor) + delays
    groups = replicas / shards
    between = 2.0 * speed.message(trained * (groups - 1) / groups * held * layout.reduce_bytes / shards, groups, tensor * shards)
    each = passes * gather_all + scatter_all
    # The first gather and the last scatter, of one layer each, have nothing to hide behind.
    ends = each / (passes + 1.0) / xp.maximum(1.0, shape.layers)
    each_exposed = xp.maximum(each - constants.overlap * slowest_stage, constants.contention * each) + ends
    data_seconds = xp.where(sharded, each_exposed * times + between * constants.contention, once_exposed)
    data_seconds = xp.where(layout.devices > 1, data_seconds, 0.0)

    # Pipeline: what is passed on between stages, and what waits while it fills and drains.
    hop = tokens * shape.hidden * 2.0 / xp.where(layout.sequence_parallel > 0, tensor, 1.0)
    hop_seconds = 2.0 * layout.virtual * speed.message(hop, pipeline, layout.devices / pipeline)
    hops = constants.pipeline_exposed * hop_seconds * (layout.micro_batches + pipeline - 1.0)
    bubble = (pipeline - 1.0) * layout.bubble * mean_stage

    micro_batches = layout.micro_batches
    optimizer_entries = trained * (held / shards + held_experts / xp.where(layout.shard_stage >= 1, expert_replicas, 1.0))
    # Products of an optimizer that works on whole matrices are made by each replica: such state is not shared out.
    whole_matrices = layout.optimizer_flops / (tensor * pipeline) / (machine.attention_ceiling * constants.sustained)
    optimizer = speed.memory(optimizer_entries * (2.0 * layout.state_bytes + 12.0)) + whole_matrices + constants.step_overhead
    parts = {
        "matrix_products": micro_batches * (work.products / pipeline + head / stages),
        "attention": micro_batches * work.attention / pipeline,
        "elementwise": micro_batches * work.elementwise / pipeline,
        "loss": micro_batches * loss / stages,
        "quantisation": micro_batches * work.quantise / pipeline,
        "kernel_starts": micro_batches * waiting,
        "tensor_parallel": micro_batches * work.tensor / pipeline,
        "context_parallel": micro_batches * work.context / pipeline,
        "expert_parallel": micro_batches * work.experts / pipeline,
        "pipeline_transfers": xp.where(pipeline > 1, hops, 0.0),
        "pipeline_bubble": bubble,
        "gradients": data_seconds,
        "optimizer": optimizer,
    }
    total = sum(parts.values())
    parts["stragglers"] = total * constants.jitter * xp.sqrt(2.0 * xp.log(xp.maximum(1.0, layout.devices)))
    return parts


def step_seconds(xp: Arithmetic, configuration: Configuration, constants: Constants) -> Number:
    """Seconds of one optimizer step."""
    return sum(step_parts(xp, configuration, constants).values())


__all__ = ["EAGER", "FUSED", "Constants", "step_parts", "step_seconds"]

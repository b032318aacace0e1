"""Spec texts that tests start from."""

FULL = """\
llmspec: 1
name: full
description: every section
seed: 7
architecture:
  kind: decoder
  vocab_size: 4096
  hidden_size: 256
  num_layers: 4
  attention: {kind: gqa, num_heads: 8, num_kv_heads: 2, head_dim: 32, qk_norm: per_head, window: [64, full], logit_softcap: 50.0}
  feed_forward: {kind: geglu, ffn_hidden_size: 512, bias: true, approximate: tanh}
  norm: {kind: layernorm, placement: sandwich, eps: 1e-6, bias: false}
  position:
    kind: rope
    theta: 500000
    scaling: {kind: yarn, factor: 4, original_sequence_length: 64}
  tie_embeddings: true
  dropout: 0.1
  initialization: {kind: truncated_normal, std: 0.01}
tokenizer: {kind: bpe, vocab_size: 4k, add_bos: true}
data:
  sources:
    - {name: english, kind: text, path: [a.txt, b/*.txt.gz], weight: 0.5, document: line}
    - {name: code, kind: python_stdlib, weight: 2}
  validation_fraction: 0.02
  packing: {document_mask: false}
objectives: [{kind: causal_lm, z_loss: 1e-4}]
training:
  sequence_length: 128
  global_batch_size: 64
  micro_batch_size: 8
  max_tokens: 1.5M
  max_duration: 1h30m
  max_grad_norm: none
optimizer: {kind: adamw, learning_rate: 3e-4, beta1: 0.9, beta2: 0.99}
schedule: {kind: wsd, warmup_steps: 10, decay_fraction: 0.2, decay_shape: cosine}
precision: fp32
parallelism: {activation_checkpointing: full}
hardware: {accelerator: h100-sxm, nodes: 1, accelerators_per_node: 4, region: sweden, price: 2.5}
checkpoint: {every: 20, keep: 2}
evaluation: {every: 20, metrics: [perplexity]}
logging: {every: 1, tensorboard: true}
generation: {prompts: ["a: b", 'it''s'], temperature: 0, top_k: 50}
launch: {local: {}, torchrun: {port: 29501, max_restarts: 0}, environment: {NCCL_DEBUG: WARN}}
"""

SMALL = """\
llmspec: 1
name: small
architecture:
  hidden_size: 64
  num_layers: 2
  attention: {kind: mha, num_heads: 4}
tokenizer: {kind: byte}
data:
  sources:
    - {name: stdlib, kind: python_stdlib}
training: {sequence_length: 128, global_batch_size: 16, max_steps: 1000}
optimizer: {learning_rate: 3e-4}
hardware: {accelerator: cpu}
"""

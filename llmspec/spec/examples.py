"""What to write for a field that is missing, by its path."""

EXAMPLES = {
    "llmspec": "llmspec: 1",
    "name": "name: my-run",
    "architecture": "architecture: {hidden_size: 512, num_layers: 8, attention: {kind: mha, num_heads: 8}}",
    "architecture.hidden_size": "hidden_size: 512",
    "architecture.num_layers": "num_layers: 8",
    "architecture.attention": "attention: {kind: mha, num_heads: 8}",
    "architecture.attention.num_heads": "num_heads: 8",
    "architecture.attention.num_kv_heads": "num_kv_heads: 2",
    "architecture.position.scaling.factor": "factor: 4",
    "architecture.position.scaling.original_sequence_length": "original_sequence_length: 8192",
    "tokenizer": "tokenizer: {kind: bpe, vocab_size: 32k}",
    "tokenizer.vocab_size": "vocab_size: 32k",
    "tokenizer.path": "path: tokenizer.json",
    "data": "data: {sources: [{name: corpus, kind: text, path: data/*.txt}]}",
    "data.sources": "sources: [{name: corpus, kind: text, path: data/*.txt}]",
    "data.sources[].name": "name: corpus",
    "data.sources[].path": "path: data/*.txt",
    "training": "training: {sequence_length: 1024, global_batch_size: 64, max_steps: 1000}",
    "training.sequence_length": "sequence_length: 1024",
    "training.global_batch_size": "global_batch_size: 64",
    "optimizer": "optimizer: {learning_rate: 3e-4}",
    "optimizer.learning_rate": "learning_rate: 3e-4",
    "hardware": "hardware: {accelerator: cpu}",
    "hardware.accelerator": "accelerator: cpu",
    "launch.slurm.container.image": "image: pytorch.sif",
}

KINDS = {
    "architecture.attention": "mha",
    "architecture.feed_forward": "swiglu",
    "architecture.norm": "rmsnorm",
    "architecture.position": "rope",
    "architecture.position.scaling": "linear",
    "tokenizer": "bpe",
    "data.sources[]": "text",
    "objectives[]": "causal_lm",
    "optimizer": "adamw",
    "schedule": "cosine",
    "launch.slurm.container": "pyxis",
}
"""The kind to show for a section that does not say its own."""

"""Score the validation documents, which were never trained on.

python evaluate.py                                             the newest checkpoint in run/
python evaluate.py --checkpoint run/checkpoints/step-00000500  a certain one
python evaluate.py --output scores.json                        and write the result to a file
"""

import argparse
import json
import math
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn

from checkpoint import find_latest, load_model
from config import ModelConfig, TrainingConfig
from data import Batch, ValidationData
from metrics import Metrics, score_line
from model import Transformer
from objectives import count_targets, cross_entropy, predict


@torch.no_grad()
def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    device: torch.device,
    bytes_per_token: float,
) -> Metrics:
    """Mean loss over all targets, perplexity and bits per byte."""
    model.eval()
    # The mean weighs every target alike, so sums and counts are kept apart until the end.
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    for batch in batches:
        num_targets = count_targets(batch)
        batch = batch.to(device)
        with torch.autocast(device.type, torch.bfloat16):
            logits_BTV = predict(model, batch)
        sums[0] += cross_entropy(logits_BTV, batch.targets)
        sums[1] += num_targets
    model.train()
    total, count = sums.tolist()
    if not count:
        raise ValueError("no validation tokens: raise `data.validation_fraction` in the spec")
    loss = total / count
    return {
        "validation_loss": loss,
        "validation_perplexity": math.exp(loss),
        "validation_bits_per_byte": loss / math.log(2) / bytes_per_token,
    }


def main() -> None:
    """Score a checkpoint on all validation documents."""
    parser = argparse.ArgumentParser(description="Score the validation documents.")
    parser.add_argument("--checkpoint", type=Path, help="default: the newest in --output-dir")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--output-dir", type=Path, default=Path("run"), help="where train.py wrote")
    parser.add_argument("--output", type=Path, help="file for the scores, as JSON")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()

    config = TrainingConfig()
    device = torch.device(args.device)
    checkpoint = args.checkpoint or find_latest(args.output_dir)
    if checkpoint is None:
        parser.error(f"{args.output_dir} holds no checkpoint: run train.py first")
    model = Transformer(ModelConfig())
    load_model(model, checkpoint)
    model.to(device)
    data = ValidationData(args.data_dir, config.sequence_length)
    batches = data.batches(config.micro_batch_size, max_tokens=None)
    scores = evaluate(model, batches, device, data.bytes_per_token)
    print(f"{checkpoint}: {score_line(scores)}")
    if args.output is not None:
        args.output.write_text(
            json.dumps({"checkpoint": str(checkpoint), **scores}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()

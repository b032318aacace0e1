"""Continue texts with the trained model.

python generate.py                         the prompts of config.py, with the newest checkpoint
python generate.py "def " "class "         other prompts
python generate.py --temperature 0 "def "  always the likeliest token
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from checkpoint import find_latest, load_model
from config import GenerationConfig, ModelConfig
from model import Transformer
from tokenizer import load_tokenizer


def sample(
    logits_V: Tensor, temperature: float, top_k: int, top_p: float, generator: torch.Generator
) -> int:
    """Draw a token id.

    A temperature of 0 takes the likeliest token. `top_k` draws from that many likeliest tokens (0
    from all), `top_p` from the likeliest that have this much probability together (nucleus
    sampling, Holtzman et al. 2019).
    """
    if temperature == 0:
        return int(logits_V.argmax())
    logits_V, ids_V = (logits_V.float() / temperature).sort(descending=True)
    if top_k:
        logits_V = logits_V[:top_k]
    probabilities = logits_V.softmax(dim=-1)
    # The token that crosses the threshold is still in.
    probabilities[probabilities.cumsum(dim=-1) - probabilities >= top_p] = 0
    return int(ids_V[torch.multinomial(probabilities, 1, generator=generator)])


@torch.inference_mode()
def generate(
    model: Transformer,
    prompt: list[int],
    *,
    max_new_tokens: int,
    temperature: float,
    top_k: int,
    top_p: float,
    eos_id: int | None,
    generator: torch.Generator,
) -> Iterator[int]:
    """Yield the tokens that follow a prompt, until `eos_id` or as many as asked for.

    Keys and values are cached: each step runs the model on one new token only.
    """
    device = model.embed_tokens.weight.device
    cache = model.empty_cache(1, len(prompt) + max_new_tokens)
    new = prompt
    for _ in range(max_new_tokens):
        logits_BTV = model(torch.tensor([new], device=device), cache=cache)
        token = sample(logits_BTV[0, -1], temperature, top_k, top_p, generator)
        if token == eos_id:
            return
        yield token
        new = [token]


def main() -> None:
    """Print a continuation of each prompt as it is drawn."""
    config = GenerationConfig()
    parser = argparse.ArgumentParser(description="Continue texts with the trained model.")
    parser.add_argument("prompts", nargs="*", default=config.prompts, help="texts to continue")
    parser.add_argument("--max-new-tokens", type=int, default=config.max_new_tokens)
    parser.add_argument("--temperature", type=float, default=config.temperature)
    parser.add_argument("--top-k", type=int, default=config.top_k)
    parser.add_argument("--top-p", type=float, default=config.top_p)
    parser.add_argument("--seed", type=int, default=config.seed)
    parser.add_argument("--checkpoint", type=Path, help="default: the newest in --output-dir")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--output-dir", type=Path, default=Path("run"), help="where train.py wrote")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()

    checkpoint = args.checkpoint or find_latest(args.output_dir)
    if checkpoint is None:
        parser.error(f"{args.output_dir} holds no checkpoint: run train.py first")
    tokenizer = load_tokenizer(args.data_dir)
    model = Transformer(ModelConfig())
    load_model(model, checkpoint)
    model.to(args.device).eval()
    generator = torch.Generator(args.device).manual_seed(args.seed)

    for prompt in args.prompts:
        # A text begins after the end of the one before it.
        ids = tokenizer.encode(prompt) or ([] if tokenizer.eos_id is None else [tokenizer.eos_id])
        if not ids:
            parser.error("a prompt needs at least one token")
        written = tokenizer.decode(ids)
        sys.stdout.write(written)
        for token in generate(
            model,
            ids,
            max_new_tokens=args.max_new_tokens,
            temperature=args.temperature,
            top_k=args.top_k,
            top_p=args.top_p,
            eos_id=tokenizer.eos_id,
            generator=generator,
        ):
            ids.append(token)
            text = tokenizer.decode(ids)
            if not text.endswith("\ufffd"):  # else a character whose last bytes are still to come
                sys.stdout.write(text[len(written) :])
                sys.stdout.flush()
                written = text
        sys.stdout.write("\n\n")


if __name__ == "__main__":
    main()

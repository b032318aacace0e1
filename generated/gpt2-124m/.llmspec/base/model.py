"""The network: a decoder-only transformer, written for one device.

The last letters of a tensor's name are its axes:

    B  sequences in the batch     N  query heads            D  hidden_size
    T  tokens of a sequence       K  key and value heads    F  ffn_hidden_size
    S  tokens that are seen       H  head_dim               V  vocab_size
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from config import ModelConfig


def attend(q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor) -> Tensor:
    """Average the values of all tokens so far, weighted by how well keys match the query."""
    # A lone query is the newest token of a text: it sees every key.
    return F.scaled_dot_product_attention(q_BNTH, k_BKSH, v_BKSH, is_causal=q_BNTH.size(2) > 1)


class KeyValueCache:
    """Keys and values of the tokens so far in one layer: generation computes each only once."""

    def __init__(self, keys_BKSH: Tensor, values_BKSH: Tensor) -> None:
        self.keys_BKSH = keys_BKSH
        self.values_BKSH = values_BKSH
        self.num_tokens = 0

    def append(self, k_BKTH: Tensor, v_BKTH: Tensor) -> tuple[Tensor, Tensor]:
        """Store the keys and values of new tokens; returns those of all tokens."""
        start, end = self.num_tokens, self.num_tokens + k_BKTH.size(2)
        self.keys_BKSH[:, :, start:end] = k_BKTH
        self.values_BKSH[:, :, start:end] = v_BKTH
        self.num_tokens = end
        return self.keys_BKSH[:, :, :end], self.values_BKSH[:, :, :end]


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        query_size = config.num_heads * config.head_dim
        key_value_size = config.num_kv_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, query_size, bias=True)
        self.k_proj = nn.Linear(config.hidden_size, key_value_size, bias=True)
        self.v_proj = nn.Linear(config.hidden_size, key_value_size, bias=True)
        self.o_proj = nn.Linear(query_size, config.hidden_size, bias=True)

    def forward(self, x_BTD: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Let each token read from the tokens that it may see."""
        B, T, _ = x_BTD.shape
        q_BTNH = self.q_proj(x_BTD).view(B, T, -1, self.head_dim)
        k_BTKH = self.k_proj(x_BTD).view(B, T, -1, self.head_dim)
        v_BTKH = self.v_proj(x_BTD).view(B, T, -1, self.head_dim)
        q_BNTH = q_BTNH.transpose(1, 2)
        k_BKSH, v_BKSH = k_BTKH.transpose(1, 2), v_BTKH.transpose(1, 2)
        if cache is not None:
            k_BKSH, v_BKSH = cache.append(k_BKSH, v_BKSH)
        y_BNTH = attend(q_BNTH, k_BKSH, v_BKSH)
        return self.o_proj(y_BNTH.transpose(1, 2).reshape(B, T, -1))


class FeedForward(nn.Module):
    """Two matrices with a GELU between (Hendrycks and Gimpel 2016)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up_proj = nn.Linear(config.hidden_size, config.ffn_hidden_size, bias=True)
        self.down_proj = nn.Linear(config.ffn_hidden_size, config.hidden_size, bias=True)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Transform each token by itself."""
        h_BTF = F.gelu(self.up_proj(x_BTD), approximate="tanh")
        return self.down_proj(h_BTF)


class Layer(nn.Module):
    """One layer: x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps, bias=True)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.LayerNorm(
            config.hidden_size, eps=config.norm_eps, bias=True
        )
        self.mlp = FeedForward(config)

    def forward(self, x_BTD: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Add what attention and the feed-forward find to the residual stream."""
        attended_BTD = self.self_attn(self.input_layernorm(x_BTD), cache)
        x_BTD = x_BTD + attended_BTD
        return x_BTD + self.mlp(self.post_attention_layernorm(x_BTD))


class Transformer(nn.Module):
    """Token ids in, logits of each next token out."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.embed_positions = nn.Embedding(config.num_positions, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps, bias=True)

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator | None = None) -> None:
        """Draw all weights."""
        for name, weight in self.named_parameters():
            self.init_weight(name, weight, generator)

    def init_weight(self, name: str, weight: Tensor, generator: torch.Generator | None) -> None:
        """Draw the values of a weight. Norms start at one and biases at zero.

        Matrices that write to the residual stream start smaller, so that it does not grow with the
        number of layers (Radford et al. 2019, section 2.3).
        """
        std = self.config.init_std
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            std /= math.sqrt(2 * self.config.num_layers)
        if name.endswith("bias"):
            nn.init.zeros_(weight)
        elif weight.dim() == 1:
            nn.init.ones_(weight)
        else:
            nn.init.normal_(weight, std=std, generator=generator)

    def empty_cache(
        self, batch_size: int, num_tokens: int, dtype: torch.dtype = torch.float32
    ) -> list[KeyValueCache]:
        """Room for the keys and values of so many tokens, for every layer."""
        shape = (batch_size, self.config.num_kv_heads, num_tokens, self.config.head_dim)
        zeros = torch.zeros(shape, dtype=dtype, device=self.embed_tokens.weight.device)
        return [KeyValueCache(zeros.clone(), zeros.clone()) for _ in self.layers]

    def forward(self, tokens_BT: Tensor, cache: list[KeyValueCache] | None = None) -> Tensor:
        """Logits of the token that follows each token.

        With a `cache` the tokens continue those that it holds: the whole prompt comes first, then
        one token at a time.
        """
        T, device = tokens_BT.size(1), tokens_BT.device
        start = 0 if cache is None else cache[0].num_tokens
        if start + T > self.config.num_positions:
            limit = self.config.num_positions
            raise ValueError(f"{start + T} tokens are more than the {limit} positions of the model")
        positions_BT = torch.arange(start, start + T, device=device)[None]

        x_BTD = self.embed_tokens(tokens_BT)
        x_BTD = x_BTD + self.embed_positions(positions_BT)
        caches = [None] * len(self.layers) if cache is None else cache
        for layer, layer_cache in zip(self.layers, caches, strict=True):
            x_BTD = layer(x_BTD, layer_cache)
        x_BTD = self.norm(x_BTD)
        return F.linear(x_BTD, self.embed_tokens.weight)

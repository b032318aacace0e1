"""Aliases lead to fields that exist or that are announced; what is announced does not exist yet."""

import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from llmspec.catalog import aliases, find_alias, find_future, futures
from llmspec.spec.schema import Spec


def sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """All sections in an annotation: members of unions, items of tuples."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) in {typing.Annotated, typing.Union, types.UnionType, tuple}:
        for part in typing.get_args(annotation):
            yield from sections(part)


def literals(annotation: Any) -> set[object]:
    """All values of the Literals in an annotation."""
    if typing.get_origin(annotation) is typing.Literal:
        return set(typing.get_args(annotation))
    return {value for part in typing.get_args(annotation) for value in literals(part)}


def fields(path: str) -> list[Any]:
    """Annotations of a dotted path in the schema, one for each union member that has it."""
    holders: list[type[BaseModel]] = [Spec]
    found: list[Any] = []
    for name in path.split("."):
        found = [holder.model_fields[name].annotation for holder in holders if name in holder.model_fields]
        holders = [section for annotation in found for section in sections(annotation)]
    return found


def test_the_walk_sees_through_unions_and_lists() -> None:
    assert fields("architecture.attention.num_kv_heads")
    assert fields("architecture.position.scaling.low_frequency_factor")
    assert fields("data.sources.document")
    assert not fields("architecture.attention.nothing")
    assert literals(fields("parallelism.zero_stage")[0]) == {0, 1, 2, 3}


def test_aliases_lead_to_fields() -> None:
    announced = {future.path for future in futures() if future.value is None}
    astray = [alias for alias in aliases().values() if not fields(alias.path) and alias.path not in announced]
    assert astray == []


def test_no_alias_is_a_name_of_ours_at_its_place() -> None:
    assert [name for name in aliases() if fields(name)] == []


def test_announced_fields_do_not_exist_but_their_place_does() -> None:
    for future in futures():
        if future.value is None:
            assert not fields(future.path), future
            parent = future.path.rpartition(".")[0]
            assert not parent or fields(parent) or find_future(parent) is not None, future


def test_announced_values_do_not_exist_but_their_field_does() -> None:
    for future in futures():
        if future.value is not None:
            assert fields(future.path), future
            assert all(future.value not in literals(annotation) for annotation in fields(future.path)), future


def test_announcements_are_phrases() -> None:
    assert [future.what for future in futures() if not future.what or future.what.endswith(".")] == []


def test_names_of_the_usual_tools_are_known() -> None:
    names = """
        n_head n_embd n_layer num_attention_heads num_hidden_layers d_model lr gradient_clipping block_size batch_size max_iters
        intermediate_size num_key_value_heads rope_theta rms_norm_eps layer_norm_epsilon tie_word_embeddings hidden_act warmup
        warmup_iters save_steps eval_steps logging_steps tensor_parallel_size tp_size zero_stage fsdp gradient_checkpointing bf16 fp16
        num_query_groups kv_channels seq_length train_iters clip_grad rotary_base untie_embeddings_and_output_weights
        qk_layernorm num_moe_experts moe_router_topk recompute_granularity init_method_std dim n_heads n_kv_heads seq_len
        local_batch_size min_lr_factor enable_weight_tying num_experts_per_tok initializer_range per_device_train_batch_size
        lr_scheduler_type max_position_embeddings adam_beta1 gradient_accumulation_steps save_total_limit torch_dtype
    """
    assert [name for name in names.split() if name not in aliases()] == []


def test_lookup_goes_from_the_whole_path_to_the_last_name() -> None:
    def path(written: str) -> str | None:
        alias = find_alias(written)
        return alias.path if alias else None

    assert path("optimizer.eps") == "optimizer.adam_eps"
    assert path("eps") is None
    assert path("training.lr") == "optimizer.learning_rate"
    assert path("data.sources[3].file") == "data.sources.path"
    assert path("architecture.attention.n_head") == "architecture.attention.num_heads"
    assert path("nothing.at_all") is None


def test_values_that_are_not_built_yet() -> None:
    def what(path: str, value: object = None) -> str | None:
        future = find_future(path, value)
        return future.what if future else None

    assert what("parallelism.tensor", "auto") == "choosing the layout automatically"
    assert what("parallelism.tensor", 0) is None
    assert what("parallelism.tensor", True) is None
    assert what("objectives[0].kind", "masked_lm") == "the masked language model objective"
    assert what("stages", [{"a": 1}]) is not None
    assert what("optimizer.kind", "adamw") is None

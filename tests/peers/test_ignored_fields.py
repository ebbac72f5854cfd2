"""Fields of config.json that a family neither reads nor refuses: transformers gives the same logits without them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from nextword.errors import NextwordError  # noqa: E402
from nextword.models.config import ModelConfig  # noqa: E402
from nextword.models.families import FAMILIES  # noqa: E402
from nextword.models.families.fields import ConfigFields  # noqa: E402
from tests.peers.test_families import VARIANTS, prompts, random_model  # noqa: E402

pytestmark = pytest.mark.peer

READERS = {family.model_type: family.config_from_hf for family in FAMILIES.values()}
FIRST = {model_type: name for name, (model_type, _) in reversed(VARIANTS.items())}
"""A variant of each family."""
OTHER = {"use_cache", "output_attentions", "output_hidden_states", "output_router_logits", "return_dict"}
"""Fields that change what a call returns beside its logits."""


@pytest.mark.parametrize("model_type", FIRST)
def test_a_field_that_has_no_effect_here_has_none_in_transformers(model_type: str) -> None:
    model = random_model(*VARIANTS[FIRST[model_type]])
    expected, tried = logits(model), 0
    content = {name: value for name, value in model.config.to_dict().items() if not name.startswith("_")}
    ours = read(model_type, content)
    assert isinstance(ours, ModelConfig)
    for name, value in content.items():
        for other in others(value) if name not in OTHER else ():
            changed = {**content, name: other}
            if read(model_type, changed) == ours and (theirs := opened(model, changed)) is not None:
                tried += 1
                assert torch.allclose(logits(theirs), expected, atol=1e-5), f"{name} = {other!r}"
    assert tried > 3


def others(value: object) -> Iterator[object]:
    """Other values of the same type."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value + 1
    elif isinstance(value, float):
        yield value * 1.5 + 0.1
    elif isinstance(value, str):
        yield "gelu"
    elif value is None:
        yield from (True, 2, 0.5)


def read(model_type: str, content: dict[str, Any]) -> ModelConfig | str:
    try:
        return READERS[model_type](ConfigFields(json.loads(json.dumps(content)), "config.json"))
    except NextwordError as error:
        return str(error)


def opened(model: Any, content: dict[str, Any]) -> Any:
    """The peer with other settings and the same weights; None if it refuses the settings."""
    settings = {name: value for name, value in content.items() if name not in ("model_type", "transformers_version")}
    try:
        config = transformers.AutoConfig.for_model(content["model_type"], **settings)
        other = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    except Exception:  # of many kinds, from the checks of settings and from deep inside
        return None
    other.load_state_dict(model.state_dict())
    return other


def logits(model: Any) -> Any:
    with torch.inference_mode():
        return model(prompts(1)).logits

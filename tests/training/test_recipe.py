"""Settings: what is allowed, how the learning rate goes, and that a recipe survives being written down."""

from __future__ import annotations

import dataclasses
import json

import pytest

from nextword.errors import ConfigError
from nextword.training.recipe import (
    CheckpointRecipe,
    ComputeRecipe,
    OptimizerRecipe,
    Recipe,
    ScheduleRecipe,
    lr_share,
    recipe_from_json,
)


def test_a_recipe_comes_back_from_json_as_it_was() -> None:
    recipe = Recipe(steps=7, optimization=OptimizerRecipe(lr=0.5), compute=ComputeRecipe(freeze=("a", "b")))
    assert recipe_from_json(json.loads(json.dumps(dataclasses.asdict(recipe)))) == recipe


@pytest.mark.parametrize("content", [{"steps": 1, "lr": 1}, {"steps": 1, "optimization": {"learning_rate": 1}}])
def test_an_unknown_setting_is_an_error(content: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="unknown setting 'l"):
        recipe_from_json(content)


def test_a_value_out_of_range_is_named() -> None:
    with pytest.raises(ConfigError, match=r"beta2 must be from 0 up to, not including, 1, is 1\.0"):
        OptimizerRecipe(beta2=1.0)
    with pytest.raises(ConfigError, match="steps must be at least 1, is 0"):
        Recipe(steps=0)
    with pytest.raises(ConfigError, match="threads must be from 1 to 4096, is 1000000000"):
        ComputeRecipe(threads=10**9)


def test_no_setting_has_the_name_of_another() -> None:
    names = [field.name for field in dataclasses.fields(Recipe)]
    for field in dataclasses.fields(Recipe):
        if isinstance(field.default, OptimizerRecipe | ScheduleRecipe | ComputeRecipe | CheckpointRecipe):
            names += [inner.name for inner in dataclasses.fields(field.default)]
    assert len(set(names)) == len(names)


def test_the_cosine_rises_to_the_largest_and_ends_at_the_final_share() -> None:
    recipe = ScheduleRecipe(warmup=0.1, final_lr=0.2)
    shares = [lr_share(step, 100, recipe) for step in range(101)]
    assert shares[0] == pytest.approx(1 / 11)
    assert shares[10] == 1.0
    assert shares[55] == pytest.approx(0.6)
    assert shares[100] == pytest.approx(0.2)
    assert shares[10:] == sorted(shares[10:], reverse=True)


def test_warmup_stable_decay_stays_up_until_its_last_part() -> None:
    recipe = ScheduleRecipe(schedule="warmup-stable-decay", warmup=0.1, decay=0.5, final_lr=0.0)
    shares = [lr_share(step, 100, recipe) for step in range(101)]
    assert shares[10:51] == [1.0] * 41
    assert shares[75] == pytest.approx(0.5)
    assert shares[100] == 0.0

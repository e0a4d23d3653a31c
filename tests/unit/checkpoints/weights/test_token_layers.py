"""A row's layers on top of the token states, as the files of a checkpoint have them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.adapter_files import bfloat16, write_safetensors
from vllm_jina_embed import TokenLayer
from vllm_jina_embed.checkpoints.files import Folder
from vllm_jina_embed.checkpoints.weights.token_layers import token_layer
from vllm_jina_embed.errors import ConfigError

RNG = np.random.default_rng(3)
WEIGHT, BIAS = RNG.normal(size=(5, 8)).astype("<f4"), RNG.normal(size=5).astype("<f4")
STATES = RNG.normal(size=(4, 8)).astype(np.float32) * 30
LAYER = TokenLayer(names=("proj", "other_proj"))


def rows(bias: np.ndarray) -> np.ndarray:
    """Return W x + b of each state, one number after the other, then L2."""
    found = np.array([[sum(w * x for w, x in zip(line, state, strict=True)) for line in WEIGHT] for state in STATES])
    found += bias
    return found / np.sqrt((found**2).sum(1, keepdims=True))


@pytest.mark.parametrize("name", ["proj", "vlm.proj", "a.b.other_proj"])
def test_a_layer_is_found_by_its_name_behind_any_prefix(tmp_path: Path, name: str) -> None:
    others = {"proj_norm.weight": WEIGHT, "myproj.weight": WEIGHT, "proj.norm.weight": WEIGHT}
    write_safetensors(tmp_path / "model.safetensors", {f"{name}.weight": WEIGHT, f"{name}.bias": BIAS, **others})
    found = token_layer(Folder(tmp_path), LAYER)
    np.testing.assert_allclose(found.multi_vector(STATES), rows(BIAS), atol=1e-6)
    assert found.multi_vector(STATES).dtype == np.float32


def test_a_layer_without_a_bias_adds_nothing(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", {"proj.weight": bfloat16(WEIGHT)})
    found = token_layer(Folder(tmp_path), LAYER)
    assert not found.bias.any()
    np.testing.assert_allclose(found.weight, WEIGHT, rtol=2**-7)


def test_weight_and_bias_may_lie_in_different_files(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "1.safetensors", {"proj.weight": WEIGHT})
    write_safetensors(tmp_path / "2.safetensors", {"proj.bias": BIAS})
    places = {"proj.weight": "1.safetensors", "proj.bias": "2.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    np.testing.assert_array_equal(token_layer(Folder(tmp_path), LAYER).bias, BIAS)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places | {"proj.bias": 3}}))
    with pytest.raises(ConfigError, match=r"has proj\.bias=3; expected the name of a file"):
        token_layer(Folder(tmp_path), LAYER)
    places["proj.bias"] = "1.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    with pytest.raises(ConfigError, match=r"1\.safetensors has no proj\.bias, although the index says so"):
        token_layer(Folder(tmp_path), LAYER)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            {"proj_norm.weight": WEIGHT},
            r"has 0 tensors named proj\.weight or other_proj\.weight \(none\); expected one",
        ),
        ({"proj.weight": WEIGHT, "a.proj.weight": WEIGHT}, r"has 2 tensors .*\(proj\.weight, a\.proj\.weight\)"),
        ({"proj.weight": WEIGHT[0]}, r"a layer of shapes \(8,\); expected"),
        ({"proj.weight": WEIGHT, "proj.bias": BIAS[:4]}, r"a layer of shapes \(5, 8\) and \(4,\); expected"),
    ],
)
def test_another_layer_than_described_is_refused(tmp_path: Path, tensors: dict[str, np.ndarray], message: str) -> None:
    """A base model's weights have none, and then rows would be made of nothing."""
    write_safetensors(tmp_path / "model.safetensors", tensors)
    with pytest.raises(ConfigError, match=message):
        token_layer(Folder(tmp_path), LAYER)


def test_a_file_of_its_own_is_read_without_running_what_it_holds(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    layer = TokenLayer(file="colbert.pt", skips_first=True)
    torch.save({"weight": torch.from_numpy(WEIGHT).half(), "bias": torch.from_numpy(BIAS)}, tmp_path / "colbert.pt")
    found = token_layer(Folder(tmp_path), layer)
    np.testing.assert_allclose(found.multi_vector(STATES), rows(BIAS)[1:], atol=2e-3)
    weights = token_layer(Folder(tmp_path), TokenLayer(file="colbert.pt")).token_weights(STATES)
    np.testing.assert_array_equal(weights, np.maximum(STATES @ found.weight.T + BIAS, 0))
    for content, message in {
        "nothing": "cannot be read",
        "pickle": "cannot be read .UnpicklingError",
        "list": "holds 'list'",
        "names": r"holds \['weight', 'more'\]; expected the tensors weight and bias",
    }.items():
        thing = {
            "nothing": None,
            "pickle": {"weight": Hostile()},
            "list": [torch.zeros(2)],
            "names": {"weight": torch.zeros(2, 2), "more": torch.zeros(2)},
        }[content]
        torch.save(thing, tmp_path / "colbert.pt")
        if content == "nothing":
            (tmp_path / "colbert.pt").write_bytes(b"no file of torch's")
        with pytest.raises(ConfigError, match=message):
            token_layer(Folder(tmp_path), layer)
    assert not Hostile.ran
    with pytest.raises(ConfigError, match=r"has no other\.pt"):
        token_layer(Folder(tmp_path), TokenLayer(file="other.pt"))


class Hostile:
    """Would run when it is unpickled."""

    ran = False

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return setattr, (Hostile, "ran", True)


def test_a_file_beside_the_weights_decides_a_folders_state_where_its_row_names_it(tmp_path: Path) -> None:
    """And only there: the state of folders of other rows stays what it was before."""
    (tmp_path / "config.json").write_text("{}")
    bare = Folder(tmp_path).state()
    (tmp_path / "colbert.pt").write_bytes(b"1")
    assert Folder(tmp_path).state() == bare
    state = Folder(tmp_path).state(("colbert.pt",))
    assert state != bare
    (tmp_path / "colbert.pt").write_bytes(b"22")
    assert Folder(tmp_path).state(("colbert.pt",)) != state

"""Which file of a checkpoint holds which tensor."""

from __future__ import annotations

from collections.abc import Mapping

from ...errors import ConfigError
from .. import values
from ..files import Location, optional_json
from .safetensors import read_table

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"


def shards(location: Location) -> Mapping[str, str]:
    """Return the safetensors file of each tensor, by the tensor's name.

    Raises:
        ConfigError: There is no such file, or it cannot be read.
    """
    index = optional_json(location, INDEX)
    if index is None:
        return dict.fromkeys(read_table(location.file(SINGLE)), SINGLE)
    where = f"{str(location)!r}: {INDEX}"
    weight_map = values.mapping(where, values.as_mapping(f"{where} is ", index), "weight_map")
    if odd := [name for name, file in weight_map.items() if not isinstance(file, str) or not file]:
        raise ConfigError(f"{where} has {odd[0]}={values.short(weight_map[odd[0]])}; expected the name of a file.")
    return weight_map

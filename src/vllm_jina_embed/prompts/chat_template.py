"""Make the chat template of a plain vLLM server, which knows nothing of rows.

A server of ours (``serve``) makes the prompts of every row itself, from the token ids or the role of a request.
"""

from __future__ import annotations

from itertools import takewhile

from ..checkpoints.description import Model
from ..checkpoints.prompt_pieces import Placeholder, Slot, Special, Template
from ..checkpoints.registry import DEFAULT_ROW
from ..errors import ConfigError


def image_template(row: Model) -> Template:
    """Return the prompt of images that a plain server can make: images travel without their role and task.

    Raises:
        ConfigError: It depends on these, or the row has prompts that no plain server makes.
        KeyError: The row has no prompt of images.
    """
    has_placeholder = any(isinstance(piece, Placeholder) for template in row.templates.values() for piece in template)
    # A plain server resizes images by its processor alone, and clients count the tokens of Qwen2.5-VL's.
    is_prepared = row.side_multiple is not None or row.image_positions == "line" or row.fixed_size
    if has_placeholder or is_prepared or len(row.image) != 3:
        what = "an image in its prompts of texts" if has_placeholder else "images of another kind"
        raise ConfigError(
            f"row={row.name!r} has {what}, of which a plain vLLM server makes no prompt. Start it by "
            "'vllm-jina-embed serve'."
        )
    prompts = {row.template("image", role, task) for role in ("query", "passage") for task in row.tasks}
    if len(prompts) > 1:
        raise ConfigError(
            f"row={row.name!r} has {len(prompts)} prompts of images; a plain vLLM server can make one, whatever "
            "the role and the task. Start it by 'vllm-jina-embed serve'."
        )
    return prompts.pop()


def chat_template(row: Model = DEFAULT_ROW) -> str:
    """Return the Jinja template, on one line, by which a server makes the same prompts from messages.

    A message of text parts becomes their plain text. A message with images becomes the image template, whose
    instruction (the text behind the images) may be sent or left out. Anything else is an error: the model was trained
    with no other prompt.

    Raises:
        ConfigError: The prompt of images depends on the role or the task.
        KeyError: The row has no prompt of images; a model of texts alone has no messages.
    """
    pieces = image_template(row)
    slot = pieces.index(Slot.IMAGES)
    image, opening, closing = (_spelled(part) for part in (row.image, pieces[:slot], pieces[slot + 1 :]))
    instruction = _spelled(tuple(takewhile(lambda piece: isinstance(piece, str), pieces[slot + 1 :])))
    return (
        "{%- if messages | length != 1 or messages[0]['role'] != 'user' -%}"
        "{{- raise_exception('send one user message: a text, or images') -}}{%- endif -%}"
        "{%- set ns = namespace(images=0, text='') -%}"
        "{%- for message in messages -%}{%- for part in message['content'] -%}"  # vLLM looks for this form
        "{%- if part['type'] == 'text' -%}{%- set ns.text = ns.text + part['text'] -%}"
        "{%- else -%}{%- set ns.images = ns.images + 1 -%}{%- endif -%}"
        "{%- endfor -%}{%- endfor -%}"
        "{%- if ns.images == 0 -%}{{- ns.text -}}"
        f"{{%- elif ns.text not in ['', '{instruction}'] -%}}"
        f"{{{{- raise_exception('beside images only the text \"{instruction}\" may stand') -}}}}"
        f"{{%- else -%}}{{{{- '{opening}' + '{image}' * ns.images + '{closing}' -}}}}"
        "{%- endif -%}"
    )


def _spelled(pieces: Template) -> str:
    """Return pieces as the inside of a string in Jinja."""
    text = "".join(piece.token if isinstance(piece, Special) else str(piece) for piece in pieces)
    return text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")

"""Make the chat template of a server."""

from __future__ import annotations

from ..checkpoints.description import ImageTemplate
from ..checkpoints.registry import DEFAULT_ROW


def chat_template(images: ImageTemplate | None = DEFAULT_ROW.images) -> str:
    """Return the Jinja template, on one line, by which a server makes the same prompts from messages.

    A message of text parts becomes their plain text. A message with images becomes the image template, whose
    instruction may be sent or left out. Anything else is an error: the model was trained with no other prompt.
    """
    assert images is not None, "a model of texts alone has no messages"
    token, instruction = images.special_tokens, images.instruction["passage"]
    image = token["vision_start"] + token["image"] + token["vision_end"]
    opening, closing = f"{token['turn_start']}user\\n", f"{token['turn_end']}\\n"
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
        f"{{%- else -%}}{{{{- '{opening}' + '{image}' * ns.images + '{instruction}{closing}' -}}}}"
        "{%- endif -%}"
    )

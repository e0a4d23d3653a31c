"""The demo checkpoint finds, through the real engine, what it was not trained on; and its recipe runs."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer

from tests.support.phrases_by_hand import phrases_by_hand
from training.batches import Batch, Batches, Stage
from training.loss import late_interaction_loss
from training.model import embed_texts, new_image_processor, new_model
from training.texts import noisy_text, pieces, token_ids
from training.tokenizer import train_tokenizer
from training.train import train
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.demo.concepts import CONCEPTS, SUNSET
from vllm_jina_embed.demo.corpus import DemoCorpus, DemoItem, demo_corpus
from vllm_jina_embed.demo.drawing import draw
from vllm_jina_embed.demo.phrases import LANGUAGES

pytestmark = [pytest.mark.real, pytest.mark.wide]

SEED = 20261121  # neither a seed of the recipe's own check nor of the demo


@pytest.fixture(scope="module")
def embedded(demo_embedder: JinaEmbedder) -> tuple[DemoCorpus, np.ndarray, np.ndarray]:
    corpus = demo_corpus(SEED)
    queries = demo_embedder.embed([query.content for query in corpus.queries], prompt_name="query")
    return corpus, queries, demo_embedder.embed([item.content for item in corpus.items])


def _allowed(item: DemoItem, query: DemoItem, direction: str) -> bool:
    if direction == "texts":
        return not item.is_image and item.language != query.language
    return direction == "all" or item.is_image


@pytest.mark.parametrize("dimensions", [128, 64, 32])
@pytest.mark.parametrize("direction", ["images", "texts", "all"])
@pytest.mark.parametrize("asker", [*LANGUAGES, None])
def test_the_nearest_item_is_right(
    embedded: tuple[DemoCorpus, np.ndarray, np.ndarray], asker: str | None, direction: str, dimensions: int
) -> None:
    corpus, queries, items = embedded
    queries, items = (
        part[:, :dimensions] / np.linalg.norm(part[:, :dimensions], axis=1, keepdims=True) for part in (queries, items)
    )
    right = []
    for query, scores in zip(corpus.queries, queries @ items.T, strict=True):
        if query.language == asker:
            allowed = np.array([_allowed(item, query, direction) for item in corpus.items])
            best = corpus.items[int(np.where(allowed, scores, -2).argmax())]
            right.append(best.concept == query.concept)
    assert len(right) == len(CONCEPTS)
    assert np.mean(right) >= 0.95


def test_the_example_sentences_find_each_other_and_the_sunset(demo_embedder: JinaEmbedder) -> None:
    sentences = ["Ein wunderschöner Sonnenuntergang am Strand", "浜辺に沈む美しい夕日"]
    queries = demo_embedder.embed_queries(sentences)
    passages = demo_embedder.embed_passages([*sentences, "Auf dem Blatt ist eine Wüste.", "紙に雪山が描いてあります。"])
    assert (queries @ passages.T)[:, :2].min() > (queries @ passages.T)[:, 2:].max()
    images = demo_embedder.embed_images([draw(concept, seed=SEED, size=(200, 140)) for concept in CONCEPTS])
    assert {CONCEPTS[best] for best in (queries @ images.T).argmax(1)} == {SUNSET}


@pytest.mark.fire
@pytest.mark.parametrize("code", list(LANGUAGES))
def test_a_phrase_by_hand_finds_its_image(demo_embedder: JinaEmbedder, code: str) -> None:
    phrases = phrases_by_hand(code)
    queries = demo_embedder.embed_queries([phrase for phrase, _ in phrases])
    images = demo_embedder.embed_images([draw(concept, seed=SEED, size=(224, 168)) for concept in CONCEPTS])
    found = [CONCEPTS[best] for best in (queries @ images.T).argmax(1)]
    wrong = [(*row, best) for row, best in zip(phrases, found, strict=True) if best != row[1]]
    recall = 1 - len(wrong) / len(phrases)
    print(f"{code}: recall@1 {recall:.3f} of {len(phrases)} phrases by hand; wrong: {wrong}")
    assert recall >= 0.9, wrong


def test_the_recipe_makes_the_vocabulary_that_ships() -> None:
    """The recipe's texts and the checkpoint belong together: who changes the texts trains again."""
    shipped = Qwen2Tokenizer.from_pretrained(demo_folder())
    made = train_tokenizer(pieces())
    assert made.get_vocab() == shipped.get_vocab()


@pytest.mark.parametrize("code", list(LANGUAGES))
def test_a_text_that_is_cut_at_random_is_the_same_text(code: str) -> None:
    tokenizer, rng = Qwen2Tokenizer.from_pretrained(demo_folder()), random.Random(7)
    more = 0
    for concept in CONCEPTS:
        text = noisy_text(rng, concept, code, noise=0.6)
        whole, cut = token_ids(rng, tokenizer, text, 0.0), token_ids(rng, tokenizer, text, 0.3)
        assert whole == tokenizer(text, add_special_tokens=False)["input_ids"]
        more += len(cut) - len(whole)
        assert tokenizer.decode(cut) == tokenizer.decode(whole) == text
    assert more > len(CONCEPTS)


def test_a_multi_vector_of_the_recipe_is_the_normalised_token_states() -> None:
    tokenizer = Qwen2Tokenizer.from_pretrained(demo_folder())
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(demo_folder(), dtype=torch.float32).eval()
    rows = tokenizer(["Query: wo ist der Wald?", "Passage: 森", "Query: a red star"])["input_ids"]
    with torch.no_grad():
        embedded = embed_texts(model, rows)
        for number, row in enumerate(rows):
            states = model.model(input_ids=torch.tensor([row])).last_hidden_state[0].double().numpy()
            expected = states / np.linalg.norm(states, axis=1, keepdims=True)
            assert embedded.multi_vectors[number].numpy() == pytest.approx(expected, abs=1e-5)
            mean = states.mean(0) / np.linalg.norm(states.mean(0))
            assert embedded.vectors[number].numpy() == pytest.approx(mean, abs=1e-5)


def test_the_late_interaction_loss_is_the_cross_entropy_of_maxsim() -> None:
    """Item by item with torch's own loss; of the second image's five rows, every second counts."""
    torch.manual_seed(0)
    texts, images = (
        [torch.nn.functional.normalize(torch.randn(count, 8), dim=-1) for count in counts]
        for counts in ((2, 5, 1, 4), (3, 5))
    )
    labels = [0, 1, 0, 1, 0, 1]
    items = [*texts, images[0], images[1][::2]]
    losses = []
    for asker, rows in enumerate(items):
        others = [number for number in range(len(items)) if number != asker]
        scores = torch.stack([(rows @ items[number].T).amax(1).mean() for number in others])
        right = [number for number in others if labels[number] == labels[asker]]
        kinds = [[number for number in right if (number < 4) == is_text] for is_text in (True, False)]
        shares = {number: 0.5 / len(kind) for kind in kinds for number in kind}
        targets = torch.tensor([shares.get(number, 0.0) for number in others])
        losses.append(torch.nn.functional.cross_entropy(scores / 0.05, targets))
    expected = torch.stack(losses[:4]).mean() / 2 + torch.stack(losses[4:]).mean() / 2
    text_labels, image_labels = torch.tensor(labels[:4]), torch.tensor(labels[4:])
    loss = late_interaction_loss(texts, text_labels, images, image_labels, image_rows=3)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch on one thread: small tensors on two wait for each other beside other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class _Stopped(Batches):
    """Fails at its second batch."""

    def __getitem__(self, step: int) -> Batch:
        if step > 0:
            raise InterruptedError("stopped")
        return super().__getitem__(step)


@pytest.mark.usefixtures("one_thread")
def test_a_stopped_training_goes_on_where_it_was(tmp_path: Path) -> None:
    tokenizer, image_processor = Qwen2Tokenizer.from_pretrained(demo_folder()), new_image_processor()
    stage = Stage(name="test", steps=2, peak_rate=1e-3, concepts=3, images=1, texts=1)

    def weights(kind: type[Batches], progress: str, seed: int = 1) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        model = new_model(tokenizer)
        batches = kind(tokenizer, image_processor, seed=1, stage=stage)
        train(model, tokenizer, batches, stage, progress=tmp_path / progress, workers=0, save_every=1)
        return [weight.detach() for weight in model.parameters()]

    at_once = weights(Batches, "at-once.pt")
    with pytest.raises(InterruptedError, match="stopped"):
        weights(_Stopped, "stopped.pt")
    resumed = weights(Batches, "stopped.pt", seed=2)
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(at_once, resumed, strict=True))


def test_the_recipe_writes_a_checkpoint_and_refuses_one_that_finds_too_little(tmp_path: Path) -> None:
    steps = ["--steps", "2", "--polish-steps", "1", "--token-steps", "1"]
    command = [sys.executable, "-m", "training.train", str(tmp_path), *steps]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1, done.stderr
    assert "The lowest recall@1 is" in done.stderr
    record = json.loads((tmp_path / "training.json").read_text())
    assert [(stage["name"], stage["steps"]) for stage in record["stages"]] == [
        ("learn", 2),
        ("polish", 1),
        ("tokens", 1),
    ]
    assert record["lowest_recall_at_1"] < 0.95
    shipped = {path.name for path in demo_folder().iterdir()}
    assert {path.name for path in tmp_path.iterdir()} == shipped


def demo_folder() -> Path:
    import vllm_jina_embed.demo

    return Path(vllm_jina_embed.demo.__file__).parent / "checkpoint"

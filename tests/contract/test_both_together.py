"""A text with its image through stores and indexes of both frameworks: the core's vector, and the same item back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_text_splitters import RecursiveCharacterTextSplitter
from llama_index.core import Document as LlamaDocument
from llama_index.core import StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler
from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import BaseNode, ImageDocument, ImageNode, MediaResource, Node, TextNode

from tests.support.fake_engine import FakeEngine
from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import InputError, JinaEmbedder, MediaPolicy
from vllm_jina_embed import langchain as lc
from vllm_jina_embed import llama_index as li
from vllm_jina_embed.checkpoints.prompt_pieces import Slot, Special
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.inputs.references import SCHEME, both_string
from vllm_jina_embed.langchain.tools import _match

TEXT = "A fox, 50% asleep: ${a}\n日本"
TOGETHER = replace(
    JINA_V4,
    name="own-both",
    templates={**JINA_V4.templates, ("any", "both"): (Slot.TEXT, Special("<|im_end|>"), Slot.IMAGES)},
    vectors_before={},
)
WAYS: dict[str, dict[str, Any]] = {"fusion": {"fusion": "mean"}, "own prompt": {"row": TOGETHER}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    path = tmp_path / "root" / "a b.png"
    path.write_bytes(encoded(noise(40, 30)))
    return path


@pytest.fixture
def engines() -> list[FakeEngine]:
    return []


@pytest.fixture
def plain(tmp_path: Path, file: Path, engines: list[FakeEngine]) -> Iterator[JinaEmbedder]:
    """An embedder that takes no such items."""
    media = MediaPolicy(allowed_root=file.parent)
    with in_memory(engines)(write_folder(tmp_path / "checkpoint"), media=media) as embedder:
        yield embedder


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def core(
    request: pytest.FixtureRequest, tmp_path: Path, file: Path, engines: list[FakeEngine]
) -> Iterator[JinaEmbedder]:
    """An embedder that takes them: by a mean, and by the row's own prompt."""
    media = MediaPolicy(allowed_root=file.parent)
    with in_memory(engines)(write_folder(tmp_path / "checkpoint"), media=media, **request.param) as embedder:
        yield embedder


def own(core: JinaEmbedder, text: str, image: Any, role: Any = "passage") -> np.ndarray:
    """Return the core's vector of a text with its image."""
    return core.embed([{"text": text, "image": image}], prompt_name=role)[0]


class TestLangChain:
    """A document's content is one string, which stores keep and pass to ``embed_documents``."""

    @pytest.mark.parametrize("mode", ["data-uri", "reference"])
    async def test_a_document_of_both_comes_back_from_a_store_as_the_same_item(
        self, core: JinaEmbedder, file: Path, mode: Any
    ) -> None:
        embeddings = lc.VllmJinaEmbeddings(embedder=core)
        document = lc.image_document(file, text=TEXT, caption="a caption", mode=mode, media=core.settings.media, id="1")
        assert document.metadata["image_text"] == TEXT
        store = InMemoryVectorStore(embeddings)
        store.add_documents([document, Document("another text")])
        assert np.allclose(store.store["1"]["vector"], own(core, TEXT, file))
        (found,) = store.get_by_ids(["1"])
        assert found == document
        again = await embeddings.aembed_documents([found.page_content, "x"])
        assert np.allclose(again[0], own(core, TEXT, file))
        question = embeddings.embed_query(found.page_content)
        assert np.allclose(question, own(core, TEXT, file, "query"))
        assert list(embeddings.transform_documents([document])) == [document]

    def test_a_caption_changes_nothing(self, core: JinaEmbedder, file: Path) -> None:
        bare, captioned = (lc.image_document(file, caption=caption) for caption in (None, "a caption"))
        assert bare.page_content == captioned.page_content

    @pytest.mark.parametrize("text", ["", " \n", "\ud800", 7])
    def test_a_text_that_cannot_be_embedded_makes_no_document(self, file: Path, text: Any) -> None:
        with pytest.raises(InputError, match=r"^text: got "):
            lc.image_document(file, text=text)

    def test_a_model_of_neither_refuses_it_by_its_place(self, plain: JinaEmbedder, file: Path) -> None:
        embeddings = lc.VllmJinaEmbeddings(embedder=plain)
        document = lc.image_document(file, text=TEXT)
        with pytest.raises(InputError, match=r"^items\[1\]: .*fusion='mean'"):
            embeddings.embed_documents(["x", document.page_content])

    @pytest.mark.fire
    def test_a_made_up_string_opens_nothing_new(self, core: JinaEmbedder, file: Path, tmp_path: Path) -> None:
        """It gives what the image's own string gives: no path, no URL, no reference without the file's hash."""
        embeddings = lc.VllmJinaEmbeddings(embedder=core)
        noise(5, 5).save(tmp_path / "outside.png")
        unread = "0f" * 16
        for image in (
            str(file),
            "http://a/b.png",
            f"{SCHEME}a%20b.png#{unread}",
            f"{SCHEME}../outside.png#{unread}",
            f"{SCHEME}{tmp_path}/outside.png#{unread}",
        ):
            with pytest.raises(InputError, match=r"^items\[1\]: "):
                embeddings.embed_documents(["x", both_string("t", image)])

    def test_a_splitter_that_cuts_it_is_named(self, core: JinaEmbedder, file: Path) -> None:
        pieces = RecursiveCharacterTextSplitter(chunk_size=60, chunk_overlap=0).split_documents(
            [lc.image_document(file, text=TEXT)]
        )
        with pytest.raises(InputError, match="was cut or changed on its way, for example by a text splitter"):
            lc.VllmJinaEmbeddings(embedder=core).embed_documents([pieces[0].page_content])

    def test_a_chat_model_reads_the_text_and_sees_the_image(self, file: Path) -> None:
        document = lc.image_document(file, text=TEXT, caption="a caption", metadata={"source": "s"})
        match = _match(document)
        assert match.text == f"{TEXT}\na caption"
        assert match.image == lc.image_document(file).page_content
        assert _match(lc.image_document(file, text=TEXT)).text == TEXT


def nodes_of_both(file: Path) -> list[BaseNode]:
    """Each kind of node that can hold both."""
    return [
        ImageNode(image_path=str(file), text=TEXT),
        ImageDocument(image_path=str(file), text=TEXT),
        Node(image_resource=MediaResource(path=file), text_resource=MediaResource(text=TEXT)),
        li.image_node(file, text=TEXT, caption="a caption", metadata={}),
        li.image_document(file, text=TEXT),
    ]


def rows(nodes: Sequence[BaseNode]) -> np.ndarray:
    return np.asarray([node.embedding for node in nodes])


@pytest.mark.filterwarnings("ignore:.*nodes hold images that their text:UserWarning")
class TestLlamaIndex:
    """A node's kind decides: one with an image and a text is both, where the embedding takes both."""

    async def test_each_kind_of_node_is_both(self, core: JinaEmbedder, file: Path) -> None:
        embedding = li.VllmJinaEmbedding(embedder=core)
        expected = own(core, TEXT, file)
        for nodes in (embedding(nodes_of_both(file)), await embedding.acall(nodes_of_both(file))):
            assert np.allclose(rows(nodes), expected)

    def test_an_embedding_that_takes_no_such_items_does_as_before(self, plain: JinaEmbedder, file: Path) -> None:
        """The image alone."""
        nodes = li.VllmJinaEmbedding(embedder=plain)(nodes_of_both(file))
        assert np.allclose(rows(nodes), plain.embed_images([file])[0])

    def test_what_is_no_text_of_its_own_is_not_embedded(self, core: JinaEmbedder, file: Path) -> None:
        """A caption, what stands for an image, and the image's own metadata."""
        alone = [
            li.image_node(file),
            li.image_node(file, caption="a caption"),
            li.image_document(encoded(noise(40, 30)), caption=" a caption "),
            ImageNode(image_path=str(file)),
            ImageNode(image_path=str(file), text="<image>"),
            ImageNode(image_path=str(file), text="<image a b.png>"),
            Node(image_resource=MediaResource(path=file)),
        ]
        assert np.allclose(rows(li.VllmJinaEmbedding(embedder=core)(alone)), core.embed_images([file])[0])

    def test_metadata_is_embedded_as_of_a_text(self, core: JinaEmbedder, file: Path) -> None:
        """As LlamaIndex does, but for what it says of the image and what the node leaves out."""
        node = ImageNode(
            image_path=str(file), text=TEXT, metadata={"page": 3, "secret": 1}, excluded_embed_metadata_keys=["secret"]
        )
        (named,) = li.name_images([node.model_copy(deep=True)])
        for one in li.VllmJinaEmbedding(embedder=core)([node, named]):
            assert np.allclose(one.embedding, own(core, f"page: 3\n\n{TEXT}", file))

    def test_it_survives_a_splitter_and_a_store(self, core: JinaEmbedder, file: Path, tmp_path: Path) -> None:
        """Pieces of a long text are joined again, since each has the whole image; what was stored embeds the same."""
        embedding = li.VllmJinaEmbedding(embedder=core)
        long = " ".join(f"Sentence number {number} of a long text." for number in range(200))
        documents = [li.image_document(file, text=long, doc_id="long"), LlamaDocument(text="x", doc_id="x")]
        index = VectorStoreIndex.from_documents(
            documents, transformations=[SentenceSplitter(chunk_size=300), embedding], embed_model=embedding
        )
        index.storage_context.persist(str(tmp_path / "kept"))
        kept = load_index_from_storage(
            StorageContext.from_defaults(persist_dir=str(tmp_path / "kept")), embed_model=embedding
        )
        (node,) = [one for one in kept.docstore.docs.values() if isinstance(one, ImageNode)]
        vector = np.asarray(kept.vector_store.get(node.node_id))
        assert np.allclose(vector, own(core, long, file))
        (again,) = embedding([node])
        assert np.allclose(again.embedding, vector)

    def test_a_pipeline_s_cache_takes_no_other_text_for_it(self, core: JinaEmbedder, file: Path) -> None:
        pipeline = IngestionPipeline(transformations=[li.VllmJinaEmbedding(embedder=core)])
        first, second = (pipeline.run(nodes=[li.image_node(file, text=text)]) for text in (TEXT, "another"))
        assert not np.allclose(rows(first), rows(second))
        assert np.allclose(rows(pipeline.run(nodes=[li.image_node(file, text=TEXT)])), rows(first))

    @pytest.mark.fire
    def test_a_text_node_is_a_text_whatever_it_looks_like(self, core: JinaEmbedder, file: Path) -> None:
        content = lc.image_document(file, text=TEXT).page_content
        (node,) = li.VllmJinaEmbedding(embedder=core)([TextNode(text=content)])
        assert np.allclose(node.embedding, core.embed_passages([content])[0])

    def test_a_document_of_langchain_is_what_it_was(self, core: JinaEmbedder, file: Path) -> None:
        """In a node with its metadata, and as a string."""
        document = lc.image_document(file, text=TEXT)
        embedding = li.VllmJinaEmbedding(embedder=core)
        (node,) = embedding([TextNode(text=document.page_content, metadata=document.metadata)])
        assert np.allclose(node.embedding, own(core, TEXT, file))
        assert np.allclose(embedding.get_text_embedding(document.page_content), node.embedding)
        assert np.allclose(embedding.get_query_embedding(document.page_content), own(core, TEXT, file, "query"))

    def test_a_bad_node_is_named_and_the_others_have_their_vectors(self, core: JinaEmbedder, file: Path) -> None:
        lost = Node(image_resource=MediaResource(), text_resource=MediaResource(text=TEXT), id_="lost")
        binary = ImageNode(image_path=str(file), text="%PDF-1.7\n%\x01\x02\x03 obj", id_="binary")
        with pytest.raises(InputError) as caught:
            li.VllmJinaEmbedding(embedder=core)([li.image_node(file, text=TEXT), lost, binary])
        assert caught.value.positions == (1, 2)
        assert np.allclose(caught.value.embeddings[0], own(core, TEXT, file))

    def test_observers_see_the_text_and_no_bytes(self, core: JinaEmbedder, file: Path) -> None:
        debug = LlamaDebugHandler(print_trace_on_end=False)
        embedding = li.VllmJinaEmbedding(embedder=core, callback_manager=CallbackManager([debug]))
        data_uri = lc.image_document(file).page_content
        hostile = li.image_node(file, text=data_uri)
        embedding([li.image_node(file, text=TEXT), hostile])
        embedding.get_text_embedding(both_string(TEXT, data_uri))
        seen = [
            chunk
            for start, end in debug.get_event_pairs(CBEventType.EMBEDDING)
            for chunk in end.payload[EventPayload.CHUNKS]
        ]
        stand_in = f"<image sha256:{hostile.metadata['image_sha256']}>"
        assert seen == [f"{TEXT} {stand_in}", f"<image> {stand_in}", f"{TEXT} {stand_in}"]

    @pytest.mark.parametrize("text", ["", " \n", "\ud800"])
    def test_a_text_that_cannot_be_embedded_makes_no_node(self, file: Path, text: str) -> None:
        for make in (li.image_node, li.image_document):
            with pytest.raises(InputError, match=r"^text: got "):
                make(file, text=text)


def test_both_frameworks_give_one_vector(core: JinaEmbedder, file: Path) -> None:
    """For equal texts and images, from one computation that a cache keeps."""
    (vector,) = lc.VllmJinaEmbeddings(embedder=core).embed_documents([lc.image_document(file, text=TEXT).page_content])
    (node,) = li.VllmJinaEmbedding(embedder=core)([li.image_node(file, text=TEXT)])
    assert vector == node.embedding

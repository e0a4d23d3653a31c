"""A small multimodal RAG over a PDF: index pages as images and text, ask, and see the page with the answer.

Run: python examples/09_rag_over_a_pdf.py [FILE.pdf QUESTION]   (needs pypdfium2), then open answer.html
Without arguments it makes its own report; the chat model is a stand-in, so that this runs offline.
With a GPU and the real weights: MODEL = "jinaai/jina-embeddings-v4-vllm-retrieval", and in chat() a multimodal model.
"""

import sys
from html import escape
from pathlib import Path

import pypdfium2
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage
from langchain_core.messages.content import create_image_block, create_text_block
from langchain_core.vectorstores import InMemoryVectorStore
from make_report import make_report

from vllm_jina_embed.langchain import VllmJinaEmbeddings, image_document

MODEL = "demo"
QUESTION = "ein blaues Balkendiagramm"  # a blue bar chart


def read(file: Path) -> list[Document]:
    """Return two documents per page: its image, which shows charts and tables as they are, and its text."""
    documents = []
    with pypdfium2.PdfDocument(file) as pdf:
        for number, page in enumerate(pdf, 1):
            where = {"source": file.name, "page": number}
            text = page.get_textpage().get_text_range().strip()
            documents.append(
                image_document(page.render(scale=1.5).to_pil(), caption=text, metadata=where, thumbnail=False)
            )
            if text:
                documents.append(Document(text, metadata=where))
    return documents


def find(store: InMemoryVectorStore, documents: list[Document], question: str) -> Document:
    """Return the image of the page that answers best, whether its image or its text was found."""
    best = store.similarity_search(question, k=1)[0].metadata
    return next(d for d in documents if d.metadata["page"] == best["page"] and "image_sha256" in d.metadata)


def chat(message: HumanMessage) -> str:
    """Stand in for a multimodal chat model: return chat_model.invoke([message]).text."""
    kinds = [block["type"] for block in message.content_blocks]
    return f"(a chat model would answer here; it was given {' and '.join(kinds)})"


def answer(page: Document, question: str) -> str:
    where = f"{page.metadata['source']}, page {page.metadata['page']}"
    kind, _, base64 = page.page_content.removeprefix("data:").partition(";base64,")
    prompt = (
        f"Answer from this page ({where}).\nIts text: {page.metadata.get('image_caption', '')}\nQuestion: {question}"
    )
    said = chat(HumanMessage([create_text_block(prompt), create_image_block(base64=base64, mime_type=kind)]))
    html = f"<h1>{escape(question)}</h1><p>{escape(said)}</p><p>{where}</p><img src='{page.page_content}'>"
    Path("answer.html").write_text(f"<!doctype html><meta charset='utf-8'>{html}", encoding="utf-8")
    return f"{said} [{where}]"


def main(file: Path, question: str) -> None:
    documents = read(file)
    with VllmJinaEmbeddings(model=MODEL) as embeddings:
        store = InMemoryVectorStore.from_documents(documents, embeddings)
        page = find(store, documents, question)
    print(f"{question} -> {answer(page, question)}")


if __name__ == "__main__":
    main(*(Path(sys.argv[1]), sys.argv[2]) if len(sys.argv) == 3 else (make_report(Path("report.pdf")), QUESTION))

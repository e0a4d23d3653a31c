"""Index folders of images, texts and PDFs, and serve a corpus to agents by the Model Context Protocol."""

"""Index a folder of images, texts and PDFs on disk, and serve it to agents by the Model Context Protocol."""

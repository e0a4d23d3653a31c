"""A folder of pictures, texts and PDFs as an index on disk, and a Model Context Protocol server of it for any agent."""

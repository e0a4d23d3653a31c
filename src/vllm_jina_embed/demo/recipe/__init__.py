"""The steps of ``python -m vllm_jina_embed.demo.train``.

They need torch and transformers, which the pictures and the texts of the demo do not.
"""

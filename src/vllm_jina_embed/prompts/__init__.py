"""Items to token ids and images, as each model was trained."""

"""Turn items into token ids and images, as each model was trained."""

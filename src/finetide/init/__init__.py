"""``finetide init``: a complete project on the user's own files."""

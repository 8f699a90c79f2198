"""A network somebody has, under another scheme, fine-tuned."""

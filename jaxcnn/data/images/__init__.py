"""Image files: lists, decodes and crops them."""

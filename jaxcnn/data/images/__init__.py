"""Image files: which they are, how they are decoded and cropped."""

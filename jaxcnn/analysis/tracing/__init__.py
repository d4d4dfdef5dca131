"""A network as a graph of layers, read off the traced program."""

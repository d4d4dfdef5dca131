"""A network and images together: what the command `jaxcnn.explain` looks at and draws."""

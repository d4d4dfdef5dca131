"""How fast the networks and operations are beside those of other libraries, in one run."""

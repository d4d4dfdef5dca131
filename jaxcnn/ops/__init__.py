"""Functions on arrays, drop-in for their jax.lax or flax counterparts."""

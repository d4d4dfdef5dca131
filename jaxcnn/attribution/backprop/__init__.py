"""What goes back from a score or a unit to the pixels: gradients, and rules in their place."""

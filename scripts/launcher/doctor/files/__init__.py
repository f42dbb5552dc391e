"""What is checked of a model and of photographs: one check a module, in the order of `catalogue`."""

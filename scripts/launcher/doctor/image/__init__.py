"""What is checked of an image: one check a module, in the order of `catalogue`."""

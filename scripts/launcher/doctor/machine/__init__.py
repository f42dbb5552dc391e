"""What is checked of this machine and its AWS account: one check a module, in the order of `catalogue`."""

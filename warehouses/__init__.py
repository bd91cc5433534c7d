"""Every target that the documentation names, with all that the contract asks of it."""

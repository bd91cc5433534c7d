"""How fast the tap is, beside others that read the same: ``make bench``."""
